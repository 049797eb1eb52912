"""Drives what no report drives: deadlines of turns, agents that fell silent, replicas to rejoin."""

import logging

from sqlalchemy import select

from appliance.common import errors
from appliance.domain import health
from appliance.mdm.db import models
from appliance.mdm.services import admission, clients, context, reach, sweep, upkeep
from appliance.mdm.services.turns import Turns

logger = logging.getLogger(__name__)

#: Time between two rounds. Seconds.
INTERVAL_S = 0.1

#: Rounds between two looks at everything that may need something.
_SWEEP_ROUNDS = 10

#: Rounds between two looks at every volume in use, lest anything was missed; the first
#: sweep is one.
_WIDE_SWEEP_ROUNDS = 100

#: Volumes looked after in one transaction, so that heartbeats get their turn in between.
_BATCH = 50


class TurnRounds:
    """``run_once`` is the body of a loop; it is not called by two threads."""

    def __init__(
        self,
        ctx: context.Context,
        turns: Turns,
        admitted: admission.Admission,
        upkeep_: upkeep.Upkeep,
        of_clients: clients.Clients,
    ) -> None:
        self._ctx = ctx
        self._clients = of_clients
        self._turns = turns
        self._admitted = admitted
        self._upkeep = upkeep_
        self._round = 0
        self._down: set[str] = set()

    def run_once(self) -> None:
        try:
            self._round_once()
        except errors.Unavailable as exc:
            # What was not kept is found again: the database says what is open and unequal.
            logger.warning("turns_put_off why=%s", exc)

    def _round_once(self) -> None:
        self._round += 1
        due = {
            *self._turns.open_volumes(),
            *self._admitted.due(),
            *self._clients.volumes_to_let_go(),
        }
        if self._round % _SWEEP_ROUNDS == 0:
            due |= self._swept()
        batch = sorted(due)
        for start in range(0, len(batch), _BATCH):
            self._consider(batch[start : start + _BATCH])

    def _consider(self, volume_ids: list[str]) -> None:
        touched: list[str] = []
        with self._turns.true_if_kept(touched), self._ctx.uow.write("mdm", urgent=True) as tx:
            # Not before: where the transaction did not even begin, what is in memory is true.
            touched.extend(volume_ids)
            self._upkeep.consider_all(tx, volume_ids)

    def _swept(self) -> set[str]:
        """Volumes that may need something, and those on SDSs whose silence or return is news."""
        with self._ctx.uow.read() as tx:
            due = sweep.interesting(tx)
            if self._round % _WIDE_SWEEP_ROUNDS == _SWEEP_ROUNDS:
                due |= sweep.in_use(tx)
            down = {
                sds_id
                for sds_id in tx.session.scalars(select(models.Sds.id))
                if reach.agent(self._ctx, sds_id)[0] is health.Reach.DOWN
            }
            changed, self._down = down ^ self._down, down
            for sds_id in changed:
                logger.warning("sds_%s sds=%s", "silent" if sds_id in down else "heard", sds_id)
            due |= set(
                tx.session.scalars(
                    select(models.VolumeLeg.volume_id)
                    .join(models.Device, models.Device.id == models.VolumeLeg.device_id)
                    .where(models.Device.sds_id.in_(changed))
                )
            )
        return due

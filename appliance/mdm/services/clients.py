"""What the clients of a volume have to do with its copies: which lost replica each of them reaches
again, and which of them holds a copy up (R8); and the end of one that people cut off.

Used by ``upkeep``. What is kept in memory is told again after a restart of the MDM; a grace then
begins anew.
"""

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select

from appliance.domain import health
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import context, mappings, orders, reach

logger = logging.getLogger(__name__)

#: A client that answered neither the copier nor the MDM for so long is cut off (R8). Seconds.
GRACE_S = 60.0

#: A client that was poked to carry out a forced unmap and was not heard for so long is not waited
#: for: the turn that shuts it out is right whether it lives or not. Seconds.
FORCE_WAIT_S = 0.5

#: A client that answers the MDM and gives the copier no lock is told of after this long. Seconds.
TELL_S = 10.0


@dataclass(slots=True)
class _HoldUp:
    """``incarnation`` gives the copier no lock, as far as the MDM knows since ``since_s``."""

    incarnation: str
    since_s: float
    told: bool = False


class Clients:
    """One per MDM; every method but ``volumes_to_let_go`` runs inside a write transaction."""

    def __init__(self, ctx: context.Context) -> None:
        self._ctx = ctx
        #: by volume and incarnation: device → the generation in which it was reached
        self._reached: dict[tuple[str, str], Mapping[str, int]] = {}
        #: by volume and target device
        self._hold_ups: dict[tuple[str, str], _HoldUp] = {}

    # --- lost replicas ------------------------------------------------------------------

    def reached(self, volume_id: str, incarnation: str, devices: Mapping[str, int]) -> None:
        """A client's word on the lost replicas it was asked to try."""
        self._reached[(volume_id, incarnation)] = devices

    def all_reach(self, volume: models.Volume, device_id: str) -> bool:
        """Whether every client that uses the volume, and answers, reaches ``device_id`` again.

        One that has no map yet has nothing to say; one that is silent would keep a copy away from
        all the others.
        """
        for incarnation in volume.incarnations:
            if incarnation.state != "live" or not orders.granted(volume, incarnation.id):
                continue
            if reach.agent(self._ctx, incarnation.sdc_id)[0] is not health.Reach.UP:
                continue
            tried = self._reached.get((volume.id, incarnation.id), {})
            if tried.get(device_id) != volume.generation:
                return False
        return True

    # --- clients that people want gone ----------------------------------------------------

    def let_go(self, tx: unit_of_work.Tx, volume: models.Volume) -> None:
        """Carry out a forced unmap whose client fell silent before it did."""
        forced = [m for m in volume.mappings if m.force and not m.wanted]
        overdue = self._overdue() if forced else set()
        for mapping in forced:
            ident = mapping.id
            silent = reach.agent(self._ctx, mapping.sdc_id)[0] is health.Reach.DOWN
            if silent or ident in overdue:
                mappings.cut_off(tx, volume, mapping, _sdc_name(tx, mapping.sdc_id))
                tx.after_commit(functools.partial(self._ctx.liveness.expect_no_more, ident))

    def volumes_to_let_go(self) -> set[str]:
        """Volumes of which a forced unmap waits for a client that is not heard."""
        overdue = self._overdue()
        if not overdue:
            return set()
        with self._ctx.uow.read() as tx:
            query = select(models.Mapping.volume_id).where(models.Mapping.id.in_(overdue))
            return set(tx.session.scalars(query))

    def _overdue(self) -> set[str]:
        return self._ctx.liveness.overdue(self._ctx.clock.monotonic(), FORCE_WAIT_S)

    # --- copies held up -----------------------------------------------------------------

    def held_up(
        self, tx: unit_of_work.Tx, volume: models.Volume, device_id: str, incarnation: str
    ) -> None:
        """The copier of ``device_id`` waits for a lock of ``incarnation``; empty: for nobody."""
        key = (volume.id, device_id)
        before = self._hold_ups.get(key)
        if before is not None and before.incarnation == incarnation:
            return
        if before is not None and before.told:
            tx.event("copy_goes_on", "volume", volume.id, volume.name, device=device_id)
        if incarnation:
            self._hold_ups[key] = _HoldUp(incarnation, self._ctx.clock.monotonic())
        else:
            self._hold_ups.pop(key, None)

    def look_after(self, tx: unit_of_work.Tx, volume: models.Volume) -> None:
        """Cut off who holds a copy up and is silent; tell of who holds one up and is not."""
        syncing = {r.device_id for r in volume.replicas if r.state == "syncing"}
        live = {i.id: i for i in volume.incarnations if i.state == "live"}
        for key, hold_up in list(self._hold_ups.items()):
            if key[0] != volume.id:
                continue
            incarnation = live.get(hold_up.incarnation)
            if key[1] not in syncing or incarnation is None:
                self.held_up(tx, volume, key[1], "")
                continue
            waited_s = self._ctx.clock.monotonic() - hold_up.since_s
            silent_s = self._silent_s(incarnation.sdc_id)
            if min(waited_s, silent_s) >= GRACE_S:
                _cut_off(tx, volume, incarnation)
            elif waited_s >= TELL_S and not hold_up.told:
                hold_up.told = True
                self._tell(tx, volume, key[1], incarnation)

    def _silent_s(self, sdc_id: str) -> float:
        """Since when the MDM has not heard the client's agent."""
        silent_s = reach.agent(self._ctx, sdc_id)[1]
        return self._ctx.clock.monotonic() - self._ctx.started if silent_s is None else silent_s

    def _tell(
        self,
        tx: unit_of_work.Tx,
        volume: models.Volume,
        device_id: str,
        incarnation: models.Incarnation,
    ) -> None:
        name = _sdc_name(tx, incarnation.sdc_id)
        tx.event("copy_held_up", "volume", volume.id, volume.name, device=device_id, sdc=name)
        logger.warning("copy_held_up volume=%s device=%s sdc=%s", volume.name, device_id, name)


def _cut_off(tx: unit_of_work.Tx, volume: models.Volume, incarnation: models.Incarnation) -> None:
    """Without its client's word: what it wrote last is in doubt, and a turn shuts it out (R7)."""
    name = _sdc_name(tx, incarnation.sdc_id)
    why = (
        f"cut off: '{name}' answered neither the MDM nor the copy of a replica for "
        f"{GRACE_S:.0f} s; unmap the volume there and map it again"
    )
    incarnation.state = "doubt"
    for mapping in volume.mappings:
        if mapping.id == incarnation.mapping_id:
            mapping.cut_off, mapping.state, mapping.error = incarnation.id, "failed", why
    tx.event("client_cut_off", "volume", volume.id, volume.name, sdc=name, silent_s=GRACE_S)
    logger.warning("client_cut_off volume=%s sdc=%s", volume.name, name)


def _sdc_name(tx: unit_of_work.Tx, sdc_id: str) -> str:
    found = tx.session.get(models.Sdc, sdc_id)
    return sdc_id if found is None else found.name

"""An operator's order to a volume whose turn is blocked: go on with a copy that lost its cache.

What nobody but an operator may decide (R4): acknowledged writes that were never flushed are then
gone, unless the SDSs named are brought back instead. A copy that had left the map is no help here.
"""

import logging
from dataclasses import dataclass, replace

from sqlalchemy import select

from appliance.common import errors
from appliance.domain import generations
from appliance.mdm import shapes
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import context, refs, volume_views
from appliance.mdm.services.turns import OpenTurn, Turns
from appliance.mdm.services.upkeep import Upkeep

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Blocked:
    """``keepers``: columns with the device each would go on with; ``lacking``: columns for which
    no copy in sync answers at all; ``missing``: devices that would avoid the loss."""

    keepers: dict[int, str]
    lacking: tuple[int, ...]
    missing: frozenset[str]


class Recovery:
    """Called by a resource, from any thread."""

    def __init__(self, ctx: context.Context, turns: Turns, upkeep: Upkeep) -> None:
        self._ctx = ctx
        self._turns = turns
        self._upkeep = upkeep

    def look(self, ref: str) -> shapes.Recovery:
        """Whether the volume's turn is blocked, by whom, and what an order would cost."""
        with self._ctx.uow.read() as tx:
            volume = refs.find(tx, models.Volume, ref)
            return _shape(tx, volume, self._blocked(volume))

    def order(self, actor: str, ref: str) -> shapes.Recovery:
        """Accept the loss; the turn goes on. Raises errors.Conflict if that is not needed, or
        would not help."""
        touched: list[str] = []
        with self._turns.true_if_kept(touched), self._ctx.uow.write(actor) as tx:
            volume = refs.find(tx, models.Volume, ref)
            blocked = self._blocked(volume)
            seen = _shape(tx, volume, blocked)
            if blocked is None or blocked.lacking:
                raise errors.Conflict(why=seen["explanation"])
            touched.append(volume.id)
            tx.event(
                "recovery_ordered", "volume", volume.id, volume.name, columns=seen["columns"],
                keep=seen["keep"], given_up=seen["bring_back"], generation=volume.generation,
            )  # fmt: skip
            logger.warning(
                "recovery_ordered volume=%s generation=%d given_up=%s",
                volume.name,
                volume.generation,
                ",".join(seen["bring_back"]),
            )
            self._turns.order(volume.id)
            self._upkeep.consider(tx, volume)
            return seen

    def _blocked(self, volume: models.Volume) -> _Blocked | None:
        """None unless the turn waits for devices that nothing but their return can replace."""
        found = self._turns.get(volume.id)
        if found is None or found.decided:
            return None
        now = self._ctx.clock.monotonic()
        decision = generations.decide(found.turn, now)
        if decision.verdict is not generations.Verdict.BLOCKED:
            return None
        return _read(found, decision, now)


def _read(found: OpenTurn, decision: generations.Decision, now: float) -> _Blocked:
    keepers: dict[int, str] = {}
    lacking = []
    for index, column in enumerate(found.turn.columns):
        one = replace(found.turn, columns=(column,))
        if generations.decide(one, now).verdict is generations.Verdict.DECIDED:
            continue
        ordered = generations.decide(replace(one, ordered=True), now)
        if ordered.verdict is generations.Verdict.DECIDED:
            keepers[index] = next(r.device_id for r in ordered.columns[0] if r.readable)
        else:
            lacking.append(index)
    return _Blocked(keepers, tuple(lacking), decision.missing)


def _shape(tx: unit_of_work.Tx, volume: models.Volume, blocked: _Blocked | None) -> shapes.Recovery:
    name = volume_views.shown_name(volume.name)
    made: shapes.Recovery = {
        "volume": name,
        "volume_id": volume.id,
        "blocked": blocked is not None,
        "possible": False,
        "columns": [],
        "keep": [],
        "bring_back": [],
        "explanation": f"volume '{name}' is not blocked, so there is nothing to give up",
    }
    if blocked is None:
        return made
    places = _places(tx, blocked.missing | set(blocked.keepers.values()))
    made["possible"] = not blocked.lacking
    made["columns"] = sorted([*blocked.keepers, *blocked.lacking])
    made["keep"] = sorted({places[device] for device in blocked.keepers.values()})
    made["bring_back"] = sorted(places[device] for device in blocked.missing)
    back = ", ".join(made["bring_back"])
    if blocked.lacking:
        columns = ", ".join(str(index) for index in blocked.lacking)
        made["explanation"] = (
            f"no copy that was in sync answers for column {columns} of volume '{name}', so there "
            f"is nothing to go on with; bring back {back}"
        )
        return made
    columns = ", ".join(str(index) for index in blocked.keepers)
    made["explanation"] = (
        f"volume '{name}' waits for {back}. Without it, column {columns} goes on with "
        f"{', '.join(made['keep'])}, whose host lost its cache: writes that were acknowledged and "
        "not flushed before that may be gone for good. What was flushed (fsync) is kept. "
        f"To lose nothing, bring back {back}"
    )
    return made


def _places(tx: unit_of_work.Tx, devices: frozenset[str] | set[str]) -> dict[str, str]:
    query = (
        select(models.Device.id, models.Sds.name, models.Device.path)
        .join(models.Sds, models.Sds.id == models.Device.sds_id)
        .where(models.Device.id.in_(devices))
    )
    return {ident: f"{sds}:{path}" for ident, sds, path in tx.session.execute(query)}

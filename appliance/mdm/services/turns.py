"""Open turns: the state machine of ``domain.generations`` driven by reports and time.

Everything here runs inside a write transaction, so one thing is decided at a time. What is kept in
memory is lost with the MDM on purpose: ``Volume.turn_open`` makes the next MDM begin the turn
anew with a higher generation (R4).
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from sqlalchemy import select

from appliance.common import clock as clocks
from appliance.common import log
from appliance.domain import generations, model
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import orders, rejoins

logger = logging.getLogger(__name__)

#: How long a turn waits for a device that is thought to be well. Seconds.
SEAL_LIMIT_S = 2.0

#: How much longer before people are told that it is blocked: agents may be on their way back.
TELL_BLOCKED_S = 3.0

#: A device because of which a second turn is asked for within this time is dropped. Seconds.
SUSPECT_AGAIN_S = 60.0


@dataclass(slots=True)
class OpenTurn:
    """``incarnations`` are those whose intent files the orders name. ``cache_ids`` are what the
    sealed devices reported; recorded when the turn is decided. ``request_id`` is what began it."""

    turn: generations.Turn
    reason: str
    incarnations: frozenset[str]
    request_id: str = "-"
    decided: bool = False
    blocked_by: frozenset[str] = frozenset()
    told_blocked: bool = False
    cache_ids: dict[str, str] = field(default_factory=dict)


class Turns:
    """One per MDM."""

    def __init__(self, clock: clocks.Clock, waits: rejoins.Rejoins) -> None:
        self._clock = clock
        self.rejoins = waits
        self._open: dict[str, OpenTurn] = {}
        self._suspected: dict[tuple[str, str], float] = {}
        #: newest generation each incarnation has left, by volume
        self._left: dict[str, dict[str, int]] = {}

    # --- questions --------------------------------------------------------------------

    def get(self, volume_id: str) -> OpenTurn | None:
        return self._open.get(volume_id)

    def open_volumes(self) -> list[str]:
        return list(self._open)

    def begun_since(self, moment_s: float) -> int:
        """How many of the open turns began after ``moment_s`` of the monotonic clock."""
        return sum(found.turn.began_s > moment_s for found in self._open.values())

    def may_rejoin(self, volume_id: str, device_id: str) -> bool:
        return self.rejoins.wait_s(volume_id, device_id, self._clock.monotonic()) <= 0

    # --- begin ------------------------------------------------------------------------

    def begin(
        self,
        tx: unit_of_work.Tx,
        volume: models.Volume,
        reason: str,
        joiners: Iterable[str] = (),
        drop: Iterable[str] = (),
        gone: Iterable[str] = (),
        leave: Iterable[tuple[int, str]] = (),
    ) -> None:
        """Raise the generation and order the seals. An open turn is begun anew.

        ``drop`` are devices to be taken out for sure, ``gone`` ones nobody need wait for,
        ``leave`` the replicas (column, device) that a move has made needless.
        """
        now = self._clock.monotonic()
        before = self._open.get(volume.id)
        states = {inc.id: inc.state for inc in volume.incarnations}
        readers = {"live", "doubt"}
        if volume.turn_open:
            # The turn that cut these off did not end: they may read by the map before it (R6).
            readers.add("retiring")
        left = {i: n for i, n in self._left.get(volume.id, {}).items() if i in states}
        self._left[volume.id] = left
        clients = {i for i, state in states.items() if state in readers}
        clients -= {i for i, generation in left.items() if generation >= volume.generation}
        volume.generation += 1
        turn = generations.Turn(
            generation=volume.generation,
            columns=columns(volume),
            began_s=now,
            deadline_s=now + SEAL_LIMIT_S,
            joiners=frozenset(joiners),
            drop=frozenset(drop) | (before.turn.drop if before else frozenset()),
            leave=frozenset(leave),
            doubt="doubt" in states.values(),
            inherited=volume.turn_open,
            gone=frozenset(gone),
            last_seal_s=now,
            clients=frozenset(clients),
        )
        volume.turn_open = True
        self._open[volume.id] = OpenTurn(turn, reason, frozenset(states), log.request_id())
        tx.event(
            "turn_began", "volume", volume.id, volume.name, generation=volume.generation, why=reason
        )
        logger.info(
            "turn_began volume=%s generation=%d why=%s", volume.name, volume.generation, reason
        )
        orders.touch(tx, volume.id)
        orders.poke_clients(tx, volume)

    def suspects_to_drop(
        self, tx: unit_of_work.Tx, volume: models.Volume, suspects: Iterable[str]
    ) -> set[str]:
        """Which suspects must go: those because of which a turn was asked for just before."""
        now = self._clock.monotonic()
        asked = {(volume.id, device_id): now for device_id in suspects}
        long_ago = float("-inf")
        again = {key for key in asked if now - self._suspected.get(key, long_ago) < SUSPECT_AGAIN_S}
        # A turn that was not kept was none: its suspects have another chance.
        tx.after_commit(lambda: self._suspected.update(asked))
        return {device_id for _, device_id in again}

    # --- reports ----------------------------------------------------------------------

    def sealed(self, volume_id: str, device_id: str, cache_id: str, cache_lost: bool) -> None:
        """A device reported the seal of the open turn's generation."""
        found = self._open.get(volume_id)
        if found is None or found.decided:
            return
        found.turn = found.turn.sealed(device_id, cache_lost, self._clock.monotonic())
        found.cache_ids[device_id] = cache_id

    def left(self, volume_id: str, incarnation: str, generation: int) -> None:
        """A client issues nothing any more under ``generation`` or an older one."""
        known = self._left.setdefault(volume_id, {})
        known[incarnation] = max(generation, known.get(incarnation, 0))
        found = self._open.get(volume_id)
        if found is not None and generation >= found.turn.generation - 1:
            found.turn = found.turn.left(incarnation)

    def gone(self, volume_id: str, device_ids: Iterable[str]) -> None:
        """These devices, and no others, are known not to answer: the open turn does not wait."""
        found = self._open.get(volume_id)
        if found is not None:
            found.turn = replace(found.turn, gone=frozenset(device_ids))

    def order(self, volume_id: str) -> None:
        """An operator accepts, in the open turn and no later one, what it may cost (R4)."""
        found = self._open[volume_id]
        found.turn = replace(found.turn, ordered=True)

    def forget(self, volume_id: str) -> None:
        """A commit failed, or the volume goes: what memory says of its turn is not true."""
        self._open.pop(volume_id, None)

    @contextmanager
    def true_if_kept(self, volume_ids: list[str]) -> Iterator[None]:
        """Around a transaction: if it fails, what it made of these volumes' turns is forgotten.

        The database then says that a turn is open and memory knows of none: it begins anew.
        """
        try:
            yield
        except BaseException:
            for volume_id in volume_ids:
                self.forget(volume_id)
            raise

    # --- advance ----------------------------------------------------------------------

    def advance(self, tx: unit_of_work.Tx, volume: models.Volume) -> bool:
        """Decide and close the open turn as far as possible. True if it was closed."""
        found = self._open[volume.id]
        now = self._clock.monotonic()
        if not found.decided:
            decision = generations.decide(found.turn, now)
            if decision.verdict is generations.Verdict.BLOCKED:
                found.blocked_by = decision.missing
                if not found.told_blocked and now - found.turn.deadline_s >= TELL_BLOCKED_S:
                    found.told_blocked = True
                    self._tell_blocked(tx, volume, found)
                return False
            if decision.verdict is generations.Verdict.WAITING:
                return False
            self._decide(tx, volume, found, decision)
        if not generations.effective(found.turn, now):
            return False
        del self._open[volume.id]
        volume.turn_open = False
        volume.map_version += 1
        tx.event("turn_over", "volume", volume.id, volume.name, generation=volume.generation)
        logger.info(
            "turn_over volume=%s generation=%d took_s=%.3f",
            volume.name,
            volume.generation,
            now - found.turn.began_s,
        )
        orders.touch(tx, volume.id)
        orders.poke_clients(tx, volume)
        return True

    def _decide(
        self,
        tx: unit_of_work.Tx,
        volume: models.Volume,
        found: OpenTurn,
        decision: generations.Decision,
    ) -> None:
        """Commit what was decided; it becomes known only when the turn is over."""
        for replica in volume.replicas:
            new = next(
                r for r in decision.columns[replica.column] if r.device_id == replica.device_id
            )
            if replica.state != new.state:
                self._state_changed(tx, volume, replica, new.state)
            elif not new.written and new.device_id in found.turn.joiners:
                self._note_left(volume.id, new.device_id)  # it did not seal: not again at once
        for leg in volume.legs:
            if leg.device_id in found.cache_ids:
                leg.cache_id = found.cache_ids[leg.device_id]
        for incarnation in volume.incarnations:
            if incarnation.state == "doubt" and found.turn.doubt:
                incarnation.state = "retiring"
        if decision.lost:
            volume.lost_generation = volume.generation
        volume.map_version += 1
        found.decided = True

    def _state_changed(
        self,
        tx: unit_of_work.Tx,
        volume: models.Volume,
        replica: models.Replica,
        state: model.ReplicaState,
    ) -> None:
        old, replica.state = replica.state, state.value
        if state is model.ReplicaState.STALE:
            self._note_left(volume.id, replica.device_id)
        tx.event(
            f"replica_{state.value}",
            "volume",
            volume.id,
            volume.name,
            column=replica.column,
            device=replica.device_id,
            was=old,
        )
        logger.warning(
            "replica_changed volume=%s column=%d device=%s state=%s was=%s",
            volume.name,
            replica.column,
            replica.device_id,
            state.value,
            old,
        )

    def _note_left(self, volume_id: str, device_id: str) -> None:
        self.rejoins.left(volume_id, device_id, self._clock.monotonic())

    def _tell_blocked(self, tx: unit_of_work.Tx, volume: models.Volume, found: OpenTurn) -> None:
        names = tx.session.execute(
            select(models.Sds.name, models.Device.path)
            .join(models.Device, models.Device.sds_id == models.Sds.id)
            .where(models.Device.id.in_(found.blocked_by))
        )
        places = sorted(f"{sds}:{path}" for sds, path in names)
        tx.event("turn_blocked", "volume", volume.id, volume.name, bring_back=places)
        logger.error(
            "turn_blocked volume=%s generation=%d bring_back=%s",
            volume.name,
            volume.generation,
            ",".join(places),
        )


def columns(volume: models.Volume) -> generations.Columns:
    """The volume's replicas as the domain sees them, by column and slot."""
    by_column: list[list[model.Replica]] = [[] for _ in range(volume.ncols)]
    for row in volume.replicas:
        by_column[row.column].append(model.Replica(row.device_id, model.ReplicaState(row.state)))
    return tuple(tuple(column) for column in by_column)

"""What a volume needs next: a turn, a promotion, the end of an intent file, or nothing.

``consider`` looks at the state in the database and at what is heard of agents, never at how it
came about, so that running it once too often does no harm and once too late only costs time.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

from sqlalchemy import delete, select

from appliance.common import log, units
from appliance.domain import health
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import admission, clients, jobs, moves, needs, orders, proof
from appliance.mdm.services.turns import Turns
from appliance.protocol import messages

logger = logging.getLogger(__name__)

#: States of devices that may hold replicas in use.
_USABLE = ("ok", "removing")


#: A replica that left for lack of space comes back once its device has so much of it free, or a
#: twentieth of its capacity if that is less.
_ROOM_BYTES = 256 * units.MIB
_ROOM_SHARE = 20


@dataclass(frozen=True, slots=True)
class Blame:
    """Devices because of which a client asks for a turn of ``generation``.

    ``out`` are to leave at once, those without space (``full``) among them.
    """

    generation: int
    suspects: frozenset[str]
    out: frozenset[str]
    full: frozenset[str]


#: A device: its id, its SDS, its state, its capacity and free bytes, the state of its SDS.
Facts = tuple[str, str, str, int, int, str]


class Upkeep:
    """One per MDM; every method runs inside a write transaction.

    ``admitted`` says when a turn that may wait begins. ``reach_of(sds_id)``: whether its agent is
    heard of. ``pace(tx)``: lets copies run, or wait.
    """

    def __init__(
        self,
        turns: Turns,
        admitted: admission.Admission,
        reach_of: Callable[[str], health.Reach],
        of_clients: clients.Clients,
        pace: Callable[[unit_of_work.Tx], None],
    ) -> None:
        self._turns = turns
        self._admitted = admitted
        self._reach_of = reach_of
        self._clients = of_clients
        self._pace = pace
        self._pace_due = False
        self._blames: dict[str, Blame] = {}
        #: (volume, device) of replicas that left for lack of space
        self._left_full = turns.rejoins.without_room
        #: who reported, for volumes that must not be touched before
        self.heard = proof.Heard()
        #: what the last ``touch`` of a volume was for, so that it is said once
        self._stop_ordered: dict[str, int] = {}
        self._retire_ordered: dict[str, set[str]] = {}

    def blame(self, volume_id: str, generation: int, status: messages.PluginStatus) -> None:
        """Remember what a client holds against devices, for the next ``consider``.

        A server that does not answer may be replaced in the turn. One on a host that does not
        answer the client could not be reached after the turn either: keeping it would only take a
        second one.
        """
        suspects = frozenset(status.suspects)
        out = frozenset(status.failed) | frozenset(status.full) | frozenset(status.unreached)
        if suspects or out:
            full = frozenset(status.full)
            self._blames[volume_id] = Blame(generation, suspects | out, out, full)

    def consider_all(self, tx: unit_of_work.Tx, volume_ids: Iterable[str]) -> None:
        """``consider`` each of these volumes that still exists."""
        tx.session.flush()
        volumes = orders.load_volumes(tx, set(volume_ids))
        devices = _devices_of(tx, volumes)
        for volume in volumes:
            with log.request(self._cause(volume)):
                self._consider(tx, volume, devices)
        if self._pace_due:
            self._pace_due = False
            tx.session.flush()
            self._pace(tx)

    def consider(self, tx: unit_of_work.Tx, volume: models.Volume) -> None:
        """Do the next thing the volume needs, if any."""
        with log.request(self._cause(volume)):
            self._consider(tx, volume, _devices_of(tx, [volume]))

    def _cause(self, volume: models.Volume) -> str:
        """The request whose work goes on here: it stands in what is logged and ordered."""
        found = self._turns.get(volume.id)
        if found is not None:
            return found.request_id
        new = {i.mapping_id for i in needs.newcomers(volume)}
        for mapping in volume.mappings:
            if mapping.id in new:
                return mapping.request_id
        grown = [leg.request_id for leg in volume.legs if 0 < leg.size < volume.size]
        return grown[0] if grown else log.request_id()

    def _consider(
        self, tx: unit_of_work.Tx, volume: models.Volume, devices: dict[str, Facts]
    ) -> None:
        self._clients.let_go(tx, volume)
        self._clients.look_after(tx, volume)
        if volume.state == "deleting":
            self._turns.forget(volume.id)
            return
        if proof.outdated(volume) or (volume.unproved and not self._prove(tx, volume)):
            return
        look = self._look(volume, devices)
        if self._turns.get(volume.id) is not None:
            self._go_on(tx, volume, look)
        elif volume.turn_open:
            self._begin(tx, volume, "the MDM restarted in a turn", look)
        elif reason := self._needs_turn(volume, look):
            self._begin(tx, volume, reason, look)
        elif reason := self._wants_turn(volume, look):
            if self._admitted.admits(volume.id):
                self._begin(tx, volume, reason, look)
        else:
            self._tidy(tx, volume)

    def _prove(self, tx: unit_of_work.Tx, volume: models.Volume) -> bool:
        """Whether the database was not contradicted by anybody whose word counts (R10)."""
        if not self.heard.proved(volume):
            return False
        volume.unproved = False
        tx.event("volume_proved", "volume", volume.id, volume.name, generation=volume.generation)
        orders.touch(tx, volume.id)
        return True

    # --- turns ------------------------------------------------------------------------

    def _go_on(self, tx: unit_of_work.Tx, volume: models.Volume, look: needs.Look) -> None:
        found = self._turns.get(volume.id)
        if found is None:
            return
        if not found.decided and (reason := needs.begin_anew(volume, found)):
            self._begin(tx, volume, reason, look)
            return
        self._turns.gone(volume.id, look.down)
        if self._turns.advance(tx, volume):
            self._note_copies(tx, volume)
            self._tidy(tx, volume)
        elif needs.stuck(volume, found, look):
            self._begin(tx, volume, "a data server that is needed ended in the turn", look)

    def _begin(
        self, tx: unit_of_work.Tx, volume: models.Volume, reason: str, look: needs.Look
    ) -> None:
        blame = self._blames.pop(volume.id, None)
        drop = look.failed | look.resting
        if blame is not None and blame.generation == volume.generation:
            drop |= blame.out | self._turns.suspects_to_drop(tx, volume, blame.suspects)
            for device_id in blame.full:
                self._left_full.add((volume.id, device_id))
                tx.event("replica_full", "volume", volume.id, volume.name, device=device_id)
        joiners = self._joinable(volume, look) - drop
        self._left_full -= {(volume.id, device_id) for device_id in joiners}
        self._turns.begin(tx, volume, reason, joiners, drop, look.down, moves.leaving(volume))

    def _needs_turn(self, volume: models.Volume, look: needs.Look) -> str:
        """Why the volume needs a turn at once; empty if it does not."""
        if reason := needs.doubtful(volume):
            return reason
        blame = self._blames.get(volume.id)
        if blame is not None:
            if blame.generation == volume.generation:
                return "a client lost a device"
            del self._blames[volume.id]
        return needs.server_lost(volume, look) if needs.in_use(volume) else ""

    def _wants_turn(self, volume: models.Volume, look: needs.Look) -> str:
        """Why the volume needs a turn that may wait for others; empty if it does not."""
        if reason := needs.newcomer(volume) or needs.server_lost(volume, look):
            return reason
        if self._joinable(volume, look):
            return "a replica came, or came back"
        if moves.ready(volume, look.up):
            return "a replica has moved elsewhere"
        written = orders.written_legs(volume)
        if any(0 < leg.size < volume.size and leg.device_id in look.up for leg in written):
            return "the volume grew"
        return ""

    def _joinable(self, volume: models.Volume, look: needs.Look) -> set[str]:
        """Devices with stale replicas that answer, the clients too, and may join now; not those
        that moves end."""
        leaving = moves.leaving(volume)
        stale = {
            replica.device_id
            for replica in volume.replicas
            if replica.state == "stale" and (replica.column, replica.device_id) not in leaving
        }
        full = {d for d in look.full if (volume.id, d) in self._left_full}
        rested = {
            d
            for d in (stale & look.up) - full - look.resting
            if self._turns.may_rejoin(volume.id, d)
        }
        used = {
            leg.device_id for leg in orders.written_legs(volume)
        }  # by clients, for another column
        return {d for d in rested if d in used or self._clients.all_reach(volume, d)}

    def _look(self, volume: models.Volume, devices: dict[str, Facts]) -> needs.Look:
        rows = [devices[leg.device_id] for leg in volume.legs]
        emptied = orders.emptied(volume)
        reach = {
            device_id: self._reach_of(sds_id)
            if state in _USABLE and device_id not in emptied
            else health.Reach.DOWN
            for device_id, sds_id, state, *_ in rows
        }
        return needs.Look(
            up={d for d, found in reach.items() if found is health.Reach.UP},
            down={d for d, found in reach.items() if found is health.Reach.DOWN},
            failed={d for d, _, state, *_ in rows if state == "failed"},
            full={
                d
                for d, _, _, capacity, free, _ in rows
                if free < min(_ROOM_BYTES, capacity // _ROOM_SHARE)
            },
            resting={d for d, *_, sds_state in rows if sds_state == "maintenance"},
        )

    # --- between turns ------------------------------------------------------------------

    def copy_done(self, tx: unit_of_work.Tx, volume: models.Volume, device_id: str) -> None:
        """The ordered copy to a device is complete and durable: its replicas are equal now (R8)."""
        for replica in volume.replicas:
            if replica.device_id == device_id and replica.state == "syncing":
                replica.state, full = "in_sync", replica.full_copy
                replica.full_copy = False
                moves.promoted(volume, replica.column, full)
                tx.event(
                    "replica_in_sync",
                    "volume",
                    volume.id,
                    volume.name,
                    column=replica.column,
                    device=device_id,
                    was="syncing",
                )
        volume.map_version += 1
        self._pace_due = True
        logger.info("replicas_in_sync volume=%s device=%s", volume.name, device_id)
        if not resyncing(volume):
            jobs.finish(tx, "resync", volume.id)
        orders.touch(tx, volume.id)
        orders.poke_clients(tx, volume)

    def _note_copies(self, tx: unit_of_work.Tx, volume: models.Volume) -> None:
        """A job for people to watch while replicas that came back are syncing."""
        self._pace_due = True
        if resyncing(volume) and jobs.running(tx, "resync", volume.id) is None:
            jobs.start(tx, "resync", "volume", volume.id, volume.name)

    def _tidy(self, tx: unit_of_work.Tx, volume: models.Volume) -> None:
        """Let go of what nobody needs: replicas that moved, servers without a client, intent files
        without a doubt."""
        moves.settle(tx, volume)
        idle = not orders.serves(volume) and any(leg.serving for leg in volume.legs)
        if idle and self._stop_ordered.get(volume.id) != volume.generation:
            self._stop_ordered[volume.id] = volume.generation
            orders.touch(tx, volume.id)
        retirable = set(orders.retirable(volume))
        if not retirable:
            return
        legs = [leg for leg in volume.legs if not leg.deleting]
        synced = set.intersection(*(set(leg.synced) for leg in legs))
        ready = retirable & synced
        if ready:
            tx.session.execute(delete(models.Incarnation).where(models.Incarnation.id.in_(ready)))
            tx.session.expire(volume, ["incarnations"])
            orders.touch(tx, volume.id)
        elif self._retire_ordered.get(volume.id) != retirable:
            self._retire_ordered[volume.id] = retirable
            orders.touch(tx, volume.id)


def resyncing(volume: models.Volume, device_id: str | None = None) -> bool:
    """Whether a replica (on that device) is syncing which came back; one that moves is part of
    another job."""
    coming = {(move.column, move.to_device_id) for move in volume.moves}
    return any(
        row.state == "syncing"
        and (row.column, row.device_id) not in coming
        and device_id in (None, row.device_id)
        for row in volume.replicas
    )


def _devices_of(tx: unit_of_work.Tx, volumes: Iterable[models.Volume]) -> dict[str, Facts]:
    """Those that hold anything of ``volumes``, by id."""
    ids = {leg.device_id for volume in volumes for leg in volume.legs}
    rows = tx.session.execute(
        select(
            models.Device.id,
            models.Device.sds_id,
            models.Device.state,
            models.Device.capacity_bytes,
            models.Device.free_bytes,
            models.Sds.state,
        )
        .join(models.Sds, models.Sds.id == models.Device.sds_id)
        .where(models.Device.id.in_(ids))
    )
    # A row is a tuple, but SQLAlchemy's type of it cannot say of what.
    return {row[0]: cast(Facts, row) for row in rows}

"""Moves of replicas, row by row: a third copy comes, and once it is in sync one of the three goes.

``relocation`` decides on moves; ``upkeep`` makes the turns and calls ``settle``. All within their
transactions. Rows come and go only while no turn of the volume is open: a turn decides about
those that it began with.
"""

import logging

from appliance.domain import layout, model
from appliance.domain import moves as planning
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import jobs, orders
from appliance.protocol import messages

logger = logging.getLogger(__name__)

#: (column, device id)
Place = tuple[int, str]


def begin(tx: unit_of_work.Tx, volume: models.Volume, move: planning.Move, job: models.Job) -> None:
    """Add the third replica: stale, and equal only by a full copy (R8). It joins in a turn."""
    slots = {row.slot for row in volume.replicas if row.column == move.column}
    volume.replicas.append(
        models.Replica(
            volume_id=volume.id,
            column=move.column,
            slot=min(set(range(model.REPLICAS + 1)) - slots),
            device_id=move.to_device,
            state=model.ReplicaState.STALE.value,
            full_copy=True,
        )
    )
    if all(leg.device_id != move.to_device for leg in volume.legs):
        volume.legs.append(models.VolumeLeg(volume_id=volume.id, device_id=move.to_device))
    volume.moves.append(
        models.Move(
            volume_id=volume.id,
            column=move.column,
            from_device_id=move.from_device,
            to_device_id=move.to_device,
            job_id=job.id,
            total_bytes=nominal_bytes(volume, move.column),
            expected_bytes=move.size_bytes,
        )
    )
    tx.session.flush()
    _reserve(volume, move.to_device)
    _event(tx, volume, "move_began", move.column, move.from_device, move.to_device)


def cancel(tx: unit_of_work.Tx, volume: models.Volume, move: models.Move, why: str) -> None:
    """The third replica shall go again; the old one stays."""
    move.cancelled = True
    _event(
        tx, volume, "move_cancelled", move.column, move.from_device_id, move.to_device_id, why=why
    )


def leaving(volume: models.Volume) -> frozenset[Place]:
    """The replicas that moves have made needless."""
    states = _states(volume)
    found = set()
    for move in volume.moves:
        if move.cancelled:
            found.add((move.column, move.to_device_id))
        elif states.get((move.column, move.to_device_id)) == model.ReplicaState.IN_SYNC:
            found.add((move.column, move.from_device_id))
    return frozenset(found)


def ready(volume: models.Volume, up: set[str]) -> bool:
    """Whether a turn should take needless replicas out of the map now.

    Not while others are copied: a turn makes every copy of the volume begin again (R8).
    """
    states = _states(volume)
    if copying(volume):
        return False
    for column, device_id in leaving(volume):
        state = states.get((column, device_id), model.ReplicaState.STALE)
        if state == model.ReplicaState.STALE:
            continue
        if _others(volume, column, device_id, up) >= _needed(state):
            return True
    return False


def copying(volume: models.Volume) -> bool:
    """Whether a turn would cost the progress of a copy that is needed."""
    needless = leaving(volume)
    return any(
        row.state == model.ReplicaState.SYNCING and (row.column, row.device_id) not in needless
        for row in volume.replicas
    )


def settle(tx: unit_of_work.Tx, volume: models.Volume) -> None:
    """Delete what has left the map, and with it the moves that are over."""
    if volume.turn_open or not volume.moves:
        return
    gone = leaving(volume)
    changed = False
    for move in list(volume.moves):
        device_id = move.to_device_id if move.cancelled else move.from_device_id
        if (move.column, device_id) in gone and _left(volume, move.column, device_id):
            _forget(tx, volume, move, device_id)
            changed = True
    if not changed:
        return
    volume.map_version += 1
    tx.session.flush()
    if all(row.state == model.ReplicaState.IN_SYNC for row in volume.replicas):
        jobs.finish(tx, "resync", volume.id)
    orders.touch(tx, volume.id)
    orders.poke_clients(tx, volume)


def promoted(volume: models.Volume, column: int, full: bool) -> None:
    """A replica of ``column`` is in sync now; ``full``: by a copy of everything.

    Such a copy brings the bytes, not the marks of what the others lacked before it joined. So a
    replica that is behind could not be made equal from it by marks (R3, R8).
    """
    for row in volume.replicas:
        if full and row.column == column and row.state != model.ReplicaState.IN_SYNC:
            row.full_copy = True


def progress(volume: models.Volume, device_id: str, copy: messages.CopyReport) -> None:
    """A copy to ``device_id`` is so far: its moves have their parts in it."""
    for move in volume.moves:
        if move.to_device_id == device_id and copy.total_bytes:
            move.done_bytes = move.total_bytes * copy.copied_bytes // copy.total_bytes


def nominal_bytes(volume: models.Volume, column: int) -> int:
    return layout.own_bytes(frozenset({column}), volume.ncols, volume.size, volume.unit)


def _left(volume: models.Volume, column: int, device_id: str) -> bool:
    state = _states(volume).get((column, device_id))
    if state is not None and state != model.ReplicaState.STALE:
        return False
    return _others(volume, column, device_id) >= _needed(state)


def _needed(state: str | None) -> int:
    """How many others must be in sync before one in this state goes: what nobody can read is no
    loss, as long as there is one (R1)."""
    return model.REPLICAS if state == model.ReplicaState.IN_SYNC else 1


def _others(volume: models.Volume, column: int, device_id: str, up: set[str] | None = None) -> int:
    """How many replicas of the column are in sync elsewhere (and reachable, if ``up`` is given)."""
    return sum(
        1
        for row in volume.replicas
        if row.column == column
        and row.device_id != device_id
        and row.state == model.ReplicaState.IN_SYNC
        and (up is None or row.device_id in up)
    )


def _forget(tx: unit_of_work.Tx, volume: models.Volume, move: models.Move, device_id: str) -> None:
    for row in list(volume.replicas):
        if (row.column, row.device_id) == (move.column, device_id):
            volume.replicas.remove(row)
    if all(row.device_id != device_id for row in volume.replicas):
        leg = next(leg for leg in volume.legs if leg.device_id == device_id)
        leg.deleting, leg.serving, leg.reserved_bytes = True, False, 0
    else:
        _reserve(volume, device_id)
    volume.moves.remove(move)
    job = tx.session.get_one(models.Job, move.job_id)
    if not move.cancelled:
        job.moved_bytes += move.total_bytes
        kind = "move_over"
        _event(tx, volume, kind, move.column, move.from_device_id, move.to_device_id)
    logger.info(
        "replica_removed volume=%s column=%d device=%s", volume.name, move.column, device_id
    )


def _reserve(volume: models.Volume, device_id: str) -> None:
    """A thick volume keeps room for its own columns, and only those."""
    if volume.thin:
        return
    leg = next(leg for leg in volume.legs if leg.device_id == device_id)
    own = frozenset(row.column for row in volume.replicas if row.device_id == device_id)
    wanted = layout.own_bytes(own, volume.ncols, volume.size, volume.unit)
    if wanted > leg.reserved_bytes:
        leg.allocated = False
    leg.reserved_bytes = wanted


def _states(volume: models.Volume) -> dict[Place, str]:
    return {(row.column, row.device_id): row.state for row in volume.replicas}


def _event(
    tx: unit_of_work.Tx,
    volume: models.Volume,
    kind: str,
    column: int,
    from_device: str,
    to_device: str,
    **more: str,
) -> None:
    places = {"column": column, "from_device": from_device, "to_device": to_device}
    tx.event(kind, "volume", volume.id, volume.name, **places, **more)
    logger.info(
        "%s volume=%s column=%d from=%s to=%s", kind, volume.name, column, from_device, to_device
    )

"""The database as the planner of moves sees it: volumes, devices, and what is promised of them."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import select

from appliance.domain import moves as planning
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import capacity, moves, orders, vacating


@dataclass(frozen=True, slots=True)
class Held:
    """A replica on a device that is to be vacated. ``moving``: its column moves already."""

    volume_id: str
    column: int
    device_id: str
    nominal_bytes: int
    moving: bool


def held(tx: unit_of_work.Tx, sites: Mapping[str, vacating.Site]) -> list[Held]:
    """All that is on devices to be vacated, and not on its way away from there."""
    leaving = [site.id for site in sites.values() if site.cause is not None]
    if not leaving:
        return []
    volume, replica, move = models.Volume, models.Replica, models.Move
    query = (
        select(replica.column, replica.device_id, volume, move.from_device_id, move.to_device_id)
        .join(volume, volume.id == replica.volume_id)
        .outerjoin(move, (move.volume_id == replica.volume_id) & (move.column == replica.column))
        .where(replica.device_id.in_(leaving), volume.state != "deleting")
    )
    return [
        Held(row.id, column, device_id, moves.nominal_bytes(row, column), from_device is not None)
        for column, device_id, row, from_device, to_device in tx.session.execute(query)
        if device_id not in (from_device, to_device)
    ]


def volume(
    row: models.Volume, sites: Mapping[str, vacating.Site], healthy: bool = False
) -> planning.Volume:
    """``healthy``: only columns with nothing behind or out of reach may move."""
    columns = [_column(row, index, sites, healthy) for index in range(row.ncols)]
    return planning.Volume(row.id, tuple(columns))


def devices(usable: Iterable[vacating.Site], rooms: Mapping[str, int]) -> list[planning.Device]:
    return [
        planning.Device(site.id, site.fault_set, capacity.usable_bytes(site), rooms[site.id])
        for site in usable
    ]


def promised(tx: unit_of_work.Tx) -> dict[str, int]:
    """Bytes that moves going on will yet take on each device, thick volumes' (which are reserved)
    apart."""
    found: Counter[str] = Counter()
    query = (
        select(models.Move)
        .join(models.Volume, models.Volume.id == models.Move.volume_id)
        .where(models.Volume.thin)
    )
    for move in tx.session.scalars(query):
        left = max(0, move.total_bytes - move.done_bytes)
        found[move.to_device_id] += move.expected_bytes * left // max(1, move.total_bytes)
    return dict(found)


class Gate:
    """Keeps the number of volumes that move at one device down: each has its turns, and writes of
    its clients go to three replicas meanwhile."""

    def __init__(self, tx: unit_of_work.Tx) -> None:
        moving = set(tx.session.scalars(select(models.Move.volume_id).distinct()))
        self._busy: Counter[str] = Counter()
        for row in orders.load_volumes(tx, moving):
            self._busy.update(_ends(row, [(m.column, m.to_device_id) for m in row.moves]))

    def admits(self, row: models.Volume, planned: Iterable[planning.Move], most: int) -> bool:
        """Whether the moves may begin now; they count from then on. ``most``: volumes that move
        at one device at once."""
        wanted = [(move.column, move.to_device) for move in planned]
        if not wanted or row.turn_open or moves.copying(row):
            return False
        ends = _ends(row, wanted)
        if any(self._busy[device_id] >= most for device_id in ends):
            return False
        self._busy.update(ends)
        return True


def _ends(row: models.Volume, wanted: list[tuple[int, str]]) -> set[str]:
    """Devices that have to do with copies of these columns to these devices."""
    sources = {
        orders.source_of(row.replicas, column).device_id
        for column, _ in wanted
        if any(r.column == column and r.state == "in_sync" for r in row.replicas)
    }
    return sources | {device_id for _, device_id in wanted}


def _column(
    row: models.Volume, index: int, sites: Mapping[str, vacating.Site], healthy: bool
) -> planning.Column:
    own = [replica for replica in row.replicas if replica.column == index]
    emptied = orders.emptied(row)
    barred = {leg.device_id for leg in row.legs if leg.deleting}
    move = next((move for move in row.moves if move.column == index), None)
    if move is not None:
        barred.add(move.to_device_id if move.cancelled else move.from_device_id)
    good = {
        replica.device_id
        for replica in own
        if replica.state == "in_sync"
        and sites[replica.device_id].up
        and replica.device_id not in emptied
    }
    bad = {replica.device_id for replica in own} - good
    # While a replica is behind, no good one moves: its new copy would not know what that lacks.
    movable = bad or good
    if not good or move is not None or row.state == "deleting" or (bad and healthy):
        movable = set()
    return planning.Column(
        index=index,
        holders=tuple(sorted({r.device_id for r in own} - barred)),
        movable=frozenset(movable - barred),
        size_bytes=_size_bytes(row, index),
        barred=frozenset(barred),
    )


def _size_bytes(row: models.Volume, index: int) -> int:
    """What a copy takes: all of a thick column, of a thin one what it takes now."""
    if not row.thin:
        return moves.nominal_bytes(row, index)
    columns = Counter(replica.device_id for replica in row.replicas)
    used = {leg.device_id: leg.used_bytes for leg in row.legs}
    return max(
        (
            used.get(replica.device_id, 0) // columns[replica.device_id]
            for replica in row.replicas
            if replica.column == index
        ),
        default=0,
    )

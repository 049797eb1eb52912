"""Evening pools out: when devices come, or by order, some replicas move to them.

``Balancing`` says what would have to move; ``relocation`` does it. A pool is evened out only while
all its devices are there: shares without one that is away for a moment would move its part.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select

from appliance.domain import moves as planning
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import context, jobs, moves, orders, refs, relocation_view, vacating

KIND = "rebalance"

#: A pool's devices have to be the same for so long before it is evened out by itself: more of
#: them may be about to come. Seconds.
SETTLED_S = 30.0

#: Volumes read at once.
_CHUNK = 100


@dataclass(frozen=True, slots=True)
class Uneven:
    """``volumes`` have replicas that should move; ``nominal_bytes``: all of these together.
    ``waits``: why nothing may move now."""

    volumes: tuple[str, ...] = ()
    columns: int = 0
    nominal_bytes: int = 0
    waits: str = ""


def order(ctx: context.Context, actor: str, ref: str) -> str:
    """Even a pool out now; the job that does it. Raises errors.NotFound."""
    with ctx.uow.write(actor) as tx:
        pool = refs.find(tx, models.Pool, ref)
        return jobs.running(tx, KIND, pool.id) or start(tx, pool).id


def start(tx: unit_of_work.Tx, pool: models.Pool) -> models.Job:
    tx.event("rebalance_began", "pool", pool.id, pool.name)
    job = jobs.start(tx, KIND, "pool", pool.id, pool.name)
    tx.session.flush()
    return job


class Balancing:
    """One per MDM; used by one thread."""

    def __init__(self, ctx: context.Context) -> None:
        self._ctx = ctx
        #: of each pool: how its devices are, since when, and whether that was found even
        self._devices: dict[str, tuple[int, float, bool]] = {}

    def look(self, tx: unit_of_work.Tx, sites: Mapping[str, vacating.Site]) -> dict[str, Uneven]:
        """The pools to even out: by order, or because their devices changed a while ago."""
        ordered = set(
            tx.session.scalars(
                select(models.Job.subject_id).where(
                    models.Job.kind == KIND, models.Job.state == "running"
                )
            )
        )
        found = {}
        for pool in tx.session.scalars(select(models.Pool)):
            own = {key: site for key, site in sites.items() if site.pool_id == pool.id}
            if pool.id in ordered:
                found[pool.id] = _uneven(tx, pool.id, own)
            elif self._due(pool, own):
                uneven = _uneven(tx, pool.id, own)
                if uneven.columns:
                    found[pool.id] = uneven
                elif not uneven.waits:
                    looks, since, _ = self._devices[pool.id]
                    self._devices[pool.id] = looks, since, True
        return found

    def _due(self, pool: models.Pool, own: Mapping[str, vacating.Site]) -> bool:
        now = self._ctx.clock.monotonic()
        looks = hash(tuple((site.id, site.usable, site.capacity_bytes) for site in own.values()))
        known, since, even = self._devices.get(pool.id, (0, now, False))
        if known != looks:
            since, even = now, False
        self._devices[pool.id] = looks, since, even
        return pool.rebalance and not even and now - since >= SETTLED_S


def plan(
    tx: unit_of_work.Tx,
    volumes: list[models.Volume],
    sites: Mapping[str, vacating.Site],
    rooms: Mapping[str, int],
) -> tuple[planning.Move, ...]:
    """What has to move of these volumes of one pool. ``rooms`` has the pool's devices."""
    usable = [sites[device_id] for device_id in rooms]
    return planning.even_out(
        [relocation_view.volume(row, sites, healthy=True) for row in volumes],
        relocation_view.devices(usable, rooms),
        {site.id: site.fault_set for site in sites.values()},
    )


def rooms_of(
    tx: unit_of_work.Tx, pool_id: str, sites: Mapping[str, vacating.Site]
) -> dict[str, int]:
    """Room on the devices of a pool, what is kept spare for rebuilds left out."""
    usable = [site for site in sites.values() if site.usable and site.pool_id == pool_id]
    spare = tx.session.get_one(models.Pool, pool_id).spare_percent
    rooms = vacating.rooms(tx, usable, relocation_view.promised(tx))
    return {site.id: rooms[site.id] - site.capacity_bytes * spare // 100 for site in usable}


def waits(pool_sites: Mapping[str, vacating.Site]) -> str:
    """Why the pool is not evened out now; empty if it may be."""
    away = sorted({site.sds_name for site in pool_sites.values() if not site.usable})
    return f"waits until all devices are in use; not now: {', '.join(away)}" if away else ""


def _uneven(tx: unit_of_work.Tx, pool_id: str, own: Mapping[str, vacating.Site]) -> Uneven:
    if why := waits(own):
        return Uneven(waits=why)
    rooms = rooms_of(tx, pool_id, own)
    query = select(models.Volume.id).where(
        models.Volume.pool_id == pool_id, models.Volume.state == "ready"
    )
    ids = list(tx.session.scalars(query.order_by(models.Volume.id)))
    names: list[str] = []
    columns = size = 0
    for first in range(0, len(ids), _CHUNK):
        rows = orders.load_volumes(tx, ids[first : first + _CHUNK])
        by_id = {row.id: row for row in rows}
        for move in plan(tx, rows, own, rooms):
            rooms[move.to_device] -= move.size_bytes
            columns += 1
            size += moves.nominal_bytes(by_id[move.volume_id], move.column)
            if move.volume_id not in names[-1:]:
                names.append(move.volume_id)
        tx.session.expunge_all()  # many volumes need not all stay in memory
    return Uneven(tuple(names), columns, size)

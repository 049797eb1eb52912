"""Volumes: made, renamed, grown and deleted here; shown by ``volume_views``.

``allocated`` and ``leg_gone`` are for the heartbeat service, when an agent reported.
"""

import secrets

from sqlalchemy import select

from appliance.common import errors, units
from appliance.domain import model
from appliance.mdm import bodies, shapes
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import (
    capacity,
    context,
    jobs,
    orders,
    refs,
    volume_space,
    volume_views,
)

_ALLOCATE = "volume_allocate"
_DELETE = "volume_delete"


def create(ctx: context.Context, actor: str, new: bodies.NewVolume) -> shapes.Volume:
    """Place a volume, all zero. Raises errors.AlreadyExists, NotFound, Invalid or NoCapacity."""
    with ctx.uow.write(actor) as tx:
        refs.check_free(tx, models.Volume, new.name)
        pool = volume_space.pool(tx, new.pool)
        devices = volume_space.candidates(ctx, tx, pool)
        row = _row(tx, pool, new, len(devices))
        placed = volume_space.place(tx, pool, row, devices)
        if row.thin:
            capacity.check_promise(tx, pool, devices, row.size)
        else:
            jobs.start(tx, _ALLOCATE, "volume", row.id, row.name, row.size * model.REPLICAS)
        tx.session.add(row)
        tx.session.flush()
        volume_space.fill(tx, row, placed)
        facts = {"size_bytes": row.size, "thin": row.thin, "pool": pool.name, "columns": row.ncols}
        tx.event("volume_created", "volume", row.id, row.name, **facts)
        # Of a thin volume nothing is needed before it is mapped, which is a turn.
        orders.touch(tx, row.id, hurry=not new.thin)
        return volume_views.fresh(ctx, row, pool.name, placed, devices)


def update(
    ctx: context.Context, actor: str, ref: str, change: bodies.VolumeChange
) -> shapes.Volume:
    """Raises errors.AlreadyExists, Conflict, Invalid (shrinking) or NoCapacity (growing)."""
    with ctx.uow.write(actor) as tx:
        row = refs.find(tx, models.Volume, ref)
        if row.state == "deleting":
            raise errors.Conflict(why="the volume is being deleted")
        wanted = {k: v for k, v in change.wanted().items() if _value(row, k) != v}
        if change.name is not None and "name" in wanted:
            _rename(tx, row, change.name)
        if change.size_bytes is not None and "size_bytes" in wanted:
            _grow(ctx, tx, row, change.size_bytes)
        if change.shareable is not None and "shareable" in wanted:
            _share(tx, row, change.shareable)
        if change.wait_limit_s is not None and "wait_limit_s" in wanted:
            row.wait_limit_s = change.wait_limit_s
            tx.event("volume_changed", "volume", row.id, row.name, wait_limit_s=row.wait_limit_s)
        if wanted:
            _tell(tx, row)
        return volume_views.one(ctx, tx, row)


def delete(ctx: context.Context, actor: str, ref: str) -> str | None:
    """Begin to delete; the job that waits for the SDSs. The name is free at once.

    Raises errors.InUse while it is mapped.
    """
    with ctx.uow.write(actor) as tx:
        row = refs.find(tx, models.Volume, ref)
        if row.state == "deleting":
            return jobs.running(tx, _DELETE, row.id)
        if row.mappings:
            raise errors.InUse(kind="volume", key=row.name, why=_mapped(tx, row))
        for kind in (_ALLOCATE, "scrub"):
            jobs.finish(tx, kind, row.id, error="the volume was deleted")
        if row.scrub is not None:
            tx.session.delete(row.scrub)
        tx.event("volume_deleting", "volume", row.id, row.name)
        job = jobs.start(tx, _DELETE, "volume", row.id, row.name)
        row.state = "deleting"
        row.name = volume_views.name_in_deletion(row.name, row.id)
        row.moves.clear()
        for leg in row.legs:
            leg.deleting = True
            leg.reserved_bytes = 0
        tx.session.flush()
        orders.touch(tx, row.id)
        return job.id


def allocated(tx: unit_of_work.Tx, row: models.Volume) -> None:
    """A leg of a thick volume reports its own space allocated: ready once all are."""
    legs = [leg for leg in row.legs if not leg.deleting]
    done = sum(leg.reserved_bytes for leg in legs if leg.allocated)
    jobs.progress(tx, _ALLOCATE, row.id, done)
    if all(leg.allocated for leg in legs):
        jobs.finish(tx, _ALLOCATE, row.id)
        if row.state == "allocating":
            row.state = "ready"


def leg_gone(tx: unit_of_work.Tx, leg: models.VolumeLeg) -> None:
    """A leg in deletion reports that nothing is left of it; the volume ends with its last leg."""
    row = tx.session.get_one(models.Volume, leg.volume_id)
    row.legs.remove(leg)
    tx.session.flush()
    if row.state == "deleting" and not row.legs:
        jobs.finish(tx, _DELETE, row.id)
        tx.session.delete(row)
        tx.session.flush()


def _row(
    tx: unit_of_work.Tx, pool: models.Pool, new: bodies.NewVolume, devices: int
) -> models.Volume:
    return models.Volume(
        id=secrets.token_hex(8),
        name=new.name,
        pool_id=pool.id,
        size=new.size_bytes,
        thin=new.thin,
        shareable=new.shareable,
        ncols=new.columns or max(1, min(volume_space.DEFAULT_COLUMNS, devices)),
        unit=model.UNIT_BYTES,
        wait_limit_s=new.wait_limit_s,
        state="ready" if new.thin else "allocating",
        generation=1,
        map_version=1,
        turn_open=False,
        lost_generation=0,
        created_at=tx.now,
    )


def _value(row: models.Volume, field: str) -> object:
    return row.size if field == "size_bytes" else getattr(row, field)


def _rename(tx: unit_of_work.Tx, row: models.Volume, name: str) -> None:
    refs.check_free(tx, models.Volume, name)
    tx.event("volume_renamed", "volume", row.id, name, old=row.name)
    row.name = name


def _grow(ctx: context.Context, tx: unit_of_work.Tx, row: models.Volume, size: int) -> None:
    if size < row.size:
        raise errors.Invalid(
            what="size_bytes",
            why=f"volumes only grow; '{row.name}' has {units.format_size(row.size)} and "
            f"{units.format_size(size)} is less",
        )
    if row.state != "ready":
        raise errors.Conflict(why=f"volume '{row.name}' is {row.state}; wait until it is ready")
    pool = tx.session.get_one(models.Pool, row.pool_id)
    if row.thin:
        devices = volume_space.candidates(ctx, tx, pool)
        capacity.check_promise(tx, pool, devices, size - row.size)
    else:
        volume_space.reserve_more(tx, pool, row, size)
        if jobs.running(tx, _ALLOCATE, row.id) is None:
            jobs.start(tx, _ALLOCATE, "volume", row.id, row.name, size * model.REPLICAS)
    tx.event("volume_grown", "volume", row.id, row.name, old=row.size, size_bytes=size)
    row.size = size


def _share(tx: unit_of_work.Tx, row: models.Volume, shareable: bool) -> None:
    if not shareable and len(row.mappings) > 1:
        raise errors.InUse(kind="volume", key=row.name, why=_mapped(tx, row))
    row.shareable = shareable
    tx.event("volume_changed", "volume", row.id, row.name, shareable=shareable)


def _tell(tx: unit_of_work.Tx, row: models.Volume) -> None:
    """Agents work by the map, which has the name, size and limits: there is a newer one."""
    row.map_version += 1
    tx.session.flush()
    orders.touch(tx, row.id, hurry=bool(row.mappings))
    for mapping in row.mappings:
        tx.poke("sdc", mapping.sdc_id)


def _mapped(tx: unit_of_work.Tx, row: models.Volume) -> str:
    query = (
        select(models.Sdc.name)
        .join(models.Mapping, models.Mapping.sdc_id == models.Sdc.id)
        .where(models.Mapping.volume_id == row.id)
        .order_by(models.Sdc.name)
    )
    names = ", ".join(tx.session.scalars(query))
    return f"it is mapped to {names}; unmap it first (basalt volume unmap {row.name})"

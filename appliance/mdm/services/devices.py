"""Devices: directories on SDS hosts that hold replicas. Agents adopt and give them back.

``adopted`` and ``given_back`` are for the heartbeat service, when an agent reported.
"""

import secrets
from typing import Any

import sqlalchemy
from sqlalchemy import select

from appliance.common import errors
from appliance.mdm import bodies, shapes
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import context, jobs, pages, reach, refs

_JOB = "device_remove"


def create(ctx: context.Context, actor: str, new: bodies.NewDevice) -> shapes.Device:
    """Order an SDS to adopt a directory. Raises errors.NotFound, AlreadyExists or Conflict."""
    with ctx.uow.write(actor) as tx:
        sds = refs.find(tx, models.Sds, new.sds)
        pool = _pool_of(tx, sds, new)
        _check_path(tx, sds, new.path)
        row = models.Device(
            id=secrets.token_hex(8),
            sds_id=sds.id,
            pool_id=pool.id,
            path=new.path,
            media=pool.media,
            limit_bytes=new.limit_bytes,
            state="adding",
            reason="waiting for the SDS to adopt it",
            capacity_bytes=0,
            free_bytes=0,
            draining=False,
            created_at=tx.now,
        )
        tx.session.add(row)
        tx.event("device_added", "device", row.id, row.path, sds=sds.name, pool=pool.name)
        tx.poke("sds", sds.id)
        return view(ctx, row, sds.name, pool.name)


def get(ctx: context.Context, ident: str) -> shapes.Device:
    with ctx.uow.read() as tx:
        row = refs.find(tx, models.Device, ident)
        return view(ctx, row, row.sds.name, tx.session.get_one(models.Pool, row.pool_id).name)


def list_page(ctx: context.Context, page: bodies.Page) -> dict[str, Any]:
    with ctx.uow.read() as tx:
        query = pages.limited(_with_names(), models.Device.path, models.Device.id, page)
        return pages.cut([view(ctx, *row) for row in tx.session.execute(query)], "path", page)


def by_sds(
    ctx: context.Context, tx: unit_of_work.Tx, sds_id: str | None = None
) -> dict[str, list[shapes.Device]]:
    """All devices, or one SDS's, by SDS id, in order of path."""
    query = _with_names().order_by(models.Device.path)
    if sds_id is not None:
        query = query.where(models.Device.sds_id == sds_id)
    found: dict[str, list[shapes.Device]] = {}
    for row, sds_name, pool_name in tx.session.execute(query):
        found.setdefault(row.sds_id, []).append(view(ctx, row, sds_name, pool_name))
    return found


def delete(ctx: context.Context, actor: str, ident: str, force: bool) -> str | None:
    """Take the device back. The id of the job that waits for its SDS, None if none need wait.

    ``force`` does not wait for an SDS that does not answer. Raises errors.InUse or Conflict.
    """
    with ctx.uow.write(actor) as tx:
        row = refs.find(tx, models.Device, ident)
        _check_unused(tx, row)
        if force and reach.agent(ctx, row.sds_id)[0].value == "up":
            raise errors.Conflict(
                why=f"SDS '{row.sds.name}' answers, so it must give the device back itself; "
                "delete it without force"
            )
        tx.poke("sds", row.sds_id)
        if force or row.state == "refused":
            drop(tx, row, forced=force)
            return None
        if row.state == "removing":
            return jobs.running(tx, _JOB, row.id)
        give_back(tx, row)
        return jobs.start(tx, _JOB, "device", row.id, row.path).id


def give_back(tx: unit_of_work.Tx, row: models.Device) -> None:
    """Order the SDS to give an empty device back."""
    row.state, row.reason = "removing", "waiting for the SDS to give it back"
    tx.event("device_removing", "device", row.id, row.path)
    tx.poke("sds", row.sds_id)


def given_back(tx: unit_of_work.Tx, row: models.Device) -> None:
    """The agent reports nothing of a device in state removing any more: forget it."""
    drop(tx, row, forced=False)


def drop(tx: unit_of_work.Tx, row: models.Device, forced: bool) -> None:
    """Forget a device without replicas. ``forced``: its SDS knows nothing of it."""
    tx.event("device_removed", "device", row.id, row.path, forced=forced)
    _drop(tx, row)


def view(ctx: context.Context, row: models.Device, sds_name: str, pool_name: str) -> shapes.Device:
    """``state`` is what its SDS said last; ``reach`` whether that SDS answers now."""
    return {
        "id": row.id,
        "sds": sds_name,
        "sds_id": row.sds_id,
        "pool": pool_name,
        "pool_id": row.pool_id,
        "path": row.path,
        "media": row.media,
        "state": row.state,
        "reason": row.reason,
        "reach": reach.agent(ctx, row.sds_id)[0].value,
        "draining": row.draining,
        "limit_bytes": row.limit_bytes,
        "capacity_bytes": row.capacity_bytes,
        "free_bytes": row.free_bytes,
        "created_at": row.created_at,
    }


def _pool_of(tx: unit_of_work.Tx, sds: models.Sds, new: bodies.NewDevice) -> models.Pool:
    pool = refs.find(tx, models.Pool, new.pool)
    if pool.domain_id != sds.domain_id:
        raise errors.Conflict(
            why=f"pool '{pool.name}' and SDS '{sds.name}' are in different protection domains"
        )
    if new.media is not None and new.media != pool.media:
        raise errors.Conflict(
            why=f"pool '{pool.name}' takes {pool.media} devices only, and this one is {new.media}"
        )
    return pool


def _check_path(tx: unit_of_work.Tx, sds: models.Sds, path: str) -> None:
    query = select(models.Device.path).where(models.Device.sds_id == sds.id)
    for other in tx.session.scalars(query):
        if other == path:
            raise errors.AlreadyExists(kind=f"device of SDS '{sds.name}'", key=path)
        if path.startswith(other + "/") or other.startswith(path + "/"):
            raise errors.Conflict(why=f"{path} and the device {other} lie inside one another")


def volumes_on(tx: unit_of_work.Tx, row: models.Device) -> list[str]:
    """Names of the volumes that have replicas on the device."""
    query = (
        select(models.Volume.name)
        .join(models.Replica, models.Replica.volume_id == models.Volume.id)
        .where(models.Replica.device_id == row.id, models.Volume.state != "deleting")
        .distinct()
        .order_by(models.Volume.name)
    )
    return list(tx.session.scalars(query))


def _check_unused(tx: unit_of_work.Tx, row: models.Device) -> None:
    if names := volumes_on(tx, row):
        raise errors.InUse(
            kind="device",
            key=row.path,
            why=f"it holds replicas of {refs.some(names)}; remove it without force, and they are "
            "made elsewhere first",
        )


def _drop(tx: unit_of_work.Tx, row: models.Device) -> None:
    """Delete the row with what is left of deleted volumes on it."""
    ends = (models.Move.from_device_id, models.Move.to_device_id)
    for column in (models.Replica.device_id, models.VolumeLeg.device_id, *ends):
        tx.session.execute(sqlalchemy.delete(column.class_).where(column == row.id))
    empty = (
        select(models.Volume)
        .where(models.Volume.state == "deleting")
        .where(~models.Volume.legs.any(models.VolumeLeg.device_id != row.id))
    )
    for volume in tx.session.scalars(empty):
        jobs.finish(tx, "volume_delete", volume.id)
        tx.session.delete(volume)
    jobs.finish(tx, _JOB, row.id)
    tx.session.delete(row)


def _with_names() -> sqlalchemy.Select[models.Device, str, str]:
    return (
        select(models.Device, models.Sds.name, models.Pool.name)
        .join(models.Sds, models.Sds.id == models.Device.sds_id)
        .join(models.Pool, models.Pool.id == models.Device.pool_id)
    )


def fail(tx: unit_of_work.Tx, device_id: str, reason: str) -> None:
    """A device that lied or lost something; it comes back only as a new one (R5)."""
    row = tx.session.get(models.Device, device_id)
    if row is not None and row.state == "ok":
        row.state, row.reason = "failed", reason
        tx.event("device_failed", "device", row.id, row.path, reason=reason, sds=row.sds_id)

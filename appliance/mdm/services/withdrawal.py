"""Taking SDSs and devices out of use: what is on them goes elsewhere first, then they are let go.

People's orders only change states; ``relocation`` sees them and moves the replicas. ``end`` is
called when nothing is left to move.
"""

from collections.abc import Callable, Collection

from sqlalchemy import select

from appliance.common import errors
from appliance.domain import health
from appliance.mdm import shapes
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import context, devices, jobs, reach, refs, sds


def evacuate(ctx: context.Context, actor: str, ref: str) -> str:
    """Move everything off an SDS, which stays; the job that does it. Raises errors.Conflict."""
    with ctx.uow.write(actor) as tx:
        row = refs.find(tx, models.Sds, ref)
        if row.state not in ("normal", "evacuating"):
            raise errors.Conflict(why=f"SDS '{row.name}' is in state {row.state}; end that first")
        if row.state == "normal":
            row.state = "evacuating"
            tx.event("sds_evacuating", "sds", row.id, row.name)
        return _job(tx, "evacuate", "sds", row.id, row.name)


def readmit(ctx: context.Context, actor: str, ref: str) -> shapes.Sds:
    """Use an SDS again that is or was evacuated; what is on its way off it stays there."""
    with ctx.uow.write(actor) as tx:
        row = refs.find(tx, models.Sds, ref)
        if row.state != "evacuating":
            raise errors.Conflict(why=f"SDS '{row.name}' is not being evacuated")
        _readmit(tx, row)
        return sds.one(ctx, tx, row)


def remove(ctx: context.Context, actor: str, ref: str, evacuate: bool) -> str | None:
    """Forget an SDS; the job that empties it first, None if it is gone at once.

    One that answers must be told to go with ``evacuate``; of one that does not, what it had is
    made elsewhere from the other copies, at once. Raises errors.InUse or Conflict.
    """
    with ctx.uow.write(actor) as tx:
        row = refs.find(tx, models.Sds, ref)
        held = _devices_of(tx, row)
        if not held:
            forget(ctx, tx, row)
            return None
        up = reach.agent(ctx, row.id)[0] is health.Reach.UP
        if row.state != "removing":
            if up and not evacuate:
                raise errors.InUse(kind="SDS", key=row.name, why=sds.why_not(ctx, tx, row))
            _check_not_last(tx, row.name, {device.id for device in held if not _there(device, up)})
            row.state = "removing"
            tx.event("sds_removing", "sds", row.id, row.name)
        return _job(tx, "sds_remove", "sds", row.id, row.name)


def drain(ctx: context.Context, actor: str, ref: str, force: bool) -> str | None:
    """Take a device back, its replicas moved elsewhere first; as ``devices.delete`` otherwise."""
    with ctx.uow.write(actor) as tx:
        row = refs.find(tx, models.Device, ref)
        if not force and devices.volumes_on(tx, row):
            up = reach.agent(ctx, row.sds_id)[0] is health.Reach.UP
            _check_not_last(tx, row.path, {row.id} - ({row.id} if _there(row, up) else set()))
            if not row.draining:
                row.draining = True
                tx.event("device_draining", "device", row.id, row.path)
            return _job(tx, "device_remove", "device", row.id, row.path)
    return devices.delete(ctx, actor, ref, force)


def cancel(ctx: context.Context, actor: str, ref: str) -> shapes.Job:
    """Stop a job of moves; what has moved stays where it is. Raises errors.Conflict."""
    with ctx.uow.write(actor) as tx:
        job = refs.find(tx, models.Job, ref)
        if job.state != "running":
            raise errors.Conflict(why=f"job {job.id} is {job.state} already")
        if job.kind in ("evacuate", "sds_remove"):
            _readmit(tx, tx.session.get_one(models.Sds, job.subject_id))
        elif job.kind == "device_remove":
            row = tx.session.get_one(models.Device, job.subject_id)
            if row.state == "removing":
                raise errors.Conflict(why="the device is empty and being given back; add it again")
            row.draining = False
        elif job.kind == "rebalance":
            jobs.end(tx, job, "cancelled", "stopped by order")
        else:
            raise errors.Conflict(
                why=f"a job of kind {job.kind} cannot be cancelled; it ends by itself"
            )
        tx.event("job_cancelled", job.subject_kind, job.subject_id, job.subject_name, job=job.id)
        return jobs.view(job)


def end(ctx: context.Context, tx: unit_of_work.Tx, job: models.Job) -> None:
    """Nothing is left to move: let the device, or the SDS with its devices, go."""
    if job.kind == "device_remove":
        row = tx.session.get(models.Device, job.subject_id)
        if row is not None and row.draining:
            _let_go(ctx, tx, row)
        return
    found = tx.session.get(models.Sds, job.subject_id)
    if found is None:
        jobs.end(tx, job, "done")
        return
    for row in _devices_of(tx, found):
        _let_go(ctx, tx, row)
    tx.session.flush()
    if not _devices_of(tx, found):
        forget(ctx, tx, found)
        jobs.end(tx, job, "done")


def forget(ctx: context.Context, tx: unit_of_work.Tx, row: models.Sds) -> None:
    """Delete an SDS without devices; its secret ends."""
    tx.event("sds_removed", "sds", row.id, row.name)
    tx.session.delete(row)
    tx.after_commit(ctx.tokens_changed)
    ident = row.id
    tx.after_commit(lambda: ctx.statistics.forget(ident))


def only_good(
    tx: unit_of_work.Tx, device_ids: Collection[str], counts: Callable[[str], bool]
) -> list[str]:
    """Names of volumes with a column that would have no replica in sync without ``device_ids``.

    ``counts(device_id)``: whether a replica elsewhere can be relied on.
    """
    replica, volume = models.Replica, models.Volume
    concerned = select(replica.volume_id).where(replica.device_id.in_(device_ids))
    query = (
        select(volume.name, replica.volume_id, replica.column, replica.device_id)
        .join(volume, volume.id == replica.volume_id)
        .where(
            volume.state != "deleting",
            replica.volume_id.in_(concerned),
            replica.state == "in_sync",
            ~replica.full_copy,
        )
    )
    names: dict[tuple[str, int], str] = {}
    safe = set()
    for name, volume_id, column, device_id in tx.session.execute(query):
        if device_id in device_ids:
            names[volume_id, column] = name
        elif counts(device_id):
            safe.add((volume_id, column))
    return sorted({name for key, name in names.items() if key not in safe})


def _check_not_last(tx: unit_of_work.Tx, name: str, away: Collection[str]) -> None:
    """What is not to be had cannot be copied: without it there must be another good copy."""
    lost = only_good(tx, away, lambda _: True) if away else []
    if lost:
        raise errors.Conflict(
            why=f"{name} does not answer and has the last good copy of parts of {refs.some(lost)}; "
            "bring it back, or delete those volumes"
        )


def _there(device: models.Device, up: bool) -> bool:
    return up and device.state == "ok"


def _readmit(tx: unit_of_work.Tx, row: models.Sds) -> None:
    going = select(models.Device.path).where(
        models.Device.sds_id == row.id, models.Device.state == "removing"
    )
    if path := tx.session.scalars(going).first():
        raise errors.Conflict(why=f"its device {path} is empty and being given back already")
    row.state = "normal"
    tx.event("sds_readmitted", "sds", row.id, row.name)


def _let_go(ctx: context.Context, tx: unit_of_work.Tx, row: models.Device) -> None:
    if reach.agent(ctx, row.sds_id)[0] is health.Reach.UP and row.state != "refused":
        if row.state != "removing":
            devices.give_back(tx, row)
    elif reach.agent(ctx, row.sds_id)[0] is not health.Reach.UNKNOWN:
        devices.drop(tx, row, forced=True)


def _devices_of(tx: unit_of_work.Tx, row: models.Sds) -> list[models.Device]:
    query = select(models.Device).where(models.Device.sds_id == row.id)
    return list(tx.session.scalars(query.order_by(models.Device.path)))


def _job(tx: unit_of_work.Tx, kind: str, subject: str, ident: str, name: str) -> str:
    return jobs.running(tx, kind, ident) or jobs.start(tx, kind, subject, ident, name).id

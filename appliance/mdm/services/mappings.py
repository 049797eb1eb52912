"""Mappings: which client has which volume. The heartbeat service moves their states on."""

import secrets

from sqlalchemy import select

from appliance.common import errors, log
from appliance.domain import health
from appliance.mdm import bodies, shapes
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import (
    context,
    mapping_views,
    orders,
    proof,
    reach,
    refs,
    volume_views,
)


def create(
    ctx: context.Context, actor: str, volume_ref: str, new: bodies.NewMapping
) -> shapes.Mapping:
    """Order a client to attach a volume. Raises errors.NotFound, AlreadyExists or Conflict."""
    with ctx.uow.write(actor) as tx:
        volume = refs.find(tx, models.Volume, volume_ref)
        sdc = refs.find(tx, models.Sdc, new.sdc)
        _check(volume, sdc)
        row = models.Mapping(
            id=secrets.token_hex(8),
            sdc_id=sdc.id,
            read_only=new.read_only,
            backend=new.backend,
            wanted=True,
            force=False,
            state="attaching",
            used_backend="",
            backend_reason="",
            device="",
            link="",
            uri="",
            error="",
            request_id=log.request_id(),
            cut_off="",
            created_at=tx.now,
        )
        volume.mappings.append(row)
        tx.event(
            "volume_mapped", "volume", volume.id, volume.name, sdc=sdc.name,
            read_only=new.read_only, backend=new.backend,
        )  # fmt: skip
        tx.session.flush()
        orders.touch(tx, volume.id)
        tx.poke("sdc", sdc.id)
        return mapping_views.view(row, volume.name, sdc.name)


def get(ctx: context.Context, volume_ref: str, ref: str) -> shapes.Mapping:
    """``ref``: an SDC's id or name, or the mapping's id. Raises errors.NotFound."""
    with ctx.uow.read() as tx:
        volume = refs.find(tx, models.Volume, volume_ref)
        row, sdc = _find(tx, volume, ref)
        return mapping_views.view(row, volume.name, sdc.name)


def list_all(ctx: context.Context, volume_ref: str) -> list[shapes.Mapping]:
    with ctx.uow.read() as tx:
        volume = refs.find(tx, models.Volume, volume_ref)
        return mapping_views.of_volumes(tx, [volume.id]).get(volume.id, [])


def delete(
    ctx: context.Context, actor: str, volume_ref: str, ref: str, force: bool
) -> shapes.Mapping:
    """Order the client to detach; asking again makes it try again.

    ``force`` does not wait for a client that may be gone: it is cut off, and unflushed writes
    are lost (R7).
    """
    with ctx.uow.write(actor) as tx:
        volume = refs.find(tx, models.Volume, volume_ref)
        row, sdc = _find(tx, volume, ref)
        row.wanted = False
        row.force = row.force or force
        row.state = "detaching"
        row.error = ""
        row.request_id = log.request_id()
        tx.event("volume_unmapping", "volume", volume.id, volume.name, sdc=sdc.name, force=force)
        view = mapping_views.view(row, volume.name, sdc.name)
        if force and not _ever_started(tx, row):
            volume.mappings.remove(row)
            tx.event("volume_unmapped", "volume", volume.id, volume.name, sdc=sdc.name)
        elif force and reach.agent(ctx, sdc.id)[0] is not health.Reach.UP:
            cut_off(tx, volume, row, sdc.name)
        elif force:
            since = ctx.clock.monotonic()  # before the commit, after which the poke goes out
            tx.after_commit(lambda: ctx.liveness.expect(row.id, sdc.id, since))
        tx.session.flush()
        orders.touch(tx, volume.id)
        tx.poke("sdc", sdc.id)
        return view


def cut_off(tx: unit_of_work.Tx, volume: models.Volume, row: models.Mapping, sdc: str) -> None:
    """Without its client's word: what it wrote last is in doubt, and a turn shuts it out (R7)."""
    for incarnation in volume.incarnations:
        if incarnation.mapping_id == row.id and incarnation.state == "live":
            incarnation.state = "doubt"
    volume.mappings.remove(row)
    tx.event("volume_unmapped", "volume", volume.id, volume.name, sdc=sdc)


def _check(volume: models.Volume, sdc: models.Sdc) -> None:
    if volume.state != "ready":
        name = volume_views.shown_name(volume.name)
        raise errors.Conflict(why=f"volume '{name}' is {volume.state}, so it cannot be mapped now")
    if why := proof.trouble(volume):
        raise errors.Conflict(why=f"volume '{volume.name}' cannot be mapped now: {why}")
    if not sdc.approved:
        raise errors.Conflict(
            why=f"SDC '{sdc.name}' is not approved; approve it first (basalt sdc approve "
            f"{sdc.name})"
        )
    if any(mapping.sdc_id == sdc.id for mapping in volume.mappings):
        raise errors.Conflict(why=f"volume '{volume.name}' is mapped to '{sdc.name}' already")
    if volume.mappings and not volume.shareable:
        raise errors.Conflict(
            why=f"volume '{volume.name}' is mapped already and is not shareable; unmap it there, "
            "or make it shareable if the clients use a cluster file system"
        )


def _find(
    tx: unit_of_work.Tx, volume: models.Volume, ref: str
) -> tuple[models.Mapping, models.Sdc]:
    query = (
        select(models.Mapping, models.Sdc)
        .join(models.Sdc, models.Sdc.id == models.Mapping.sdc_id)
        .where(models.Mapping.volume_id == volume.id)
    )
    for row, sdc in tx.session.execute(query):
        if ref in (row.id, sdc.id, sdc.name):
            return row, sdc
    name = volume_views.shown_name(volume.name)
    raise errors.NotFound(kind=f"mapping of volume '{name}' to", key=ref[:80])


def _ever_started(tx: unit_of_work.Tx, row: models.Mapping) -> bool:
    """Whether a plugin ever ran for it. No map is handed out before its incarnation is durable."""
    query = select(models.Incarnation.id).where(models.Incarnation.mapping_id == row.id)
    return tx.session.scalars(query).first() is not None

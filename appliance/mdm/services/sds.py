"""SDSs as people see them: who they are, whether they answer, what they hold."""

from typing import Any

import sqlalchemy
from sqlalchemy import select

from appliance.domain import health
from appliance.mdm import bodies, shapes
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import context, devices, pages, reach, refs


def get(ctx: context.Context, ref: str) -> shapes.Sds:
    with ctx.uow.read() as tx:
        return one(ctx, tx, refs.find(tx, models.Sds, ref))


def list_page(ctx: context.Context, page: bodies.Page) -> dict[str, Any]:
    with ctx.uow.read() as tx:
        query = pages.limited(_with_names(), models.Sds.name, models.Sds.id, page)
        held = devices.by_sds(ctx, tx)
        items = [
            view(ctx, row, domain, fault_set, held.get(row.id, []))
            for row, domain, fault_set in tx.session.execute(query)
        ]
        return pages.cut(items, "name", page)


def all_in(ctx: context.Context, tx: unit_of_work.Tx) -> list[shapes.Sds]:
    """Every SDS in order of name, within a transaction that goes on."""
    held = devices.by_sds(ctx, tx)
    return [
        view(ctx, row, domain, fault_set, held.get(row.id, []))
        for row, domain, fault_set in tx.session.execute(_with_names().order_by(models.Sds.name))
    ]


def rename(ctx: context.Context, actor: str, ref: str, change: bodies.Rename) -> shapes.Sds:
    """Raises errors.AlreadyExists."""
    with ctx.uow.write(actor) as tx:
        row = refs.find(tx, models.Sds, ref)
        if change.name is not None and change.name != row.name:
            refs.check_free(tx, models.Sds, change.name)
            tx.event("sds_renamed", "sds", row.id, change.name, old=row.name)
            row.name = change.name
            tx.after_commit(ctx.tokens_changed)
        return one(ctx, tx, row)


def view(
    ctx: context.Context,
    row: models.Sds,
    domain: str,
    fault_set: str | None,
    held: list[shapes.Device],
) -> shapes.Sds:
    state, last_seen_s = reach.agent(ctx, row.id)
    word, reason = reach.agent_health(state, last_seen_s, ctx.liveness.refuses(row.id))
    bad = [d for d in held if d["state"] in ("failed", "missing", "refused")]
    if word is health.Health.HEALTHY and bad:
        word = health.Health.DEGRADED
        reason = "; ".join(f"{d['path']} is {d['state']}: {d['reason']}" for d in bad)
    return {
        "id": row.id,
        "name": row.name,
        "domain": domain,
        "domain_id": row.domain_id,
        "fault_set": fault_set,
        "fault_set_id": row.fault_set_id,
        "state": row.state,
        "health": word.value,
        "reason": reason,
        "hosts": list(row.hosts),
        "control_port": row.control_port,
        "last_seen_s": last_seen_s,
        "clock_skew_s": ctx.statistics.skew_s(row.id),
        "devices": held,
        "version": row.version,
        "created_at": row.created_at,
    }


def one(ctx: context.Context, tx: unit_of_work.Tx, row: models.Sds) -> shapes.Sds:
    """An SDS within a transaction that goes on."""
    domain = tx.session.get_one(models.Domain, row.domain_id)
    fault_set = tx.session.get(models.FaultSet, row.fault_set_id) if row.fault_set_id else None
    held = devices.by_sds(ctx, tx, row.id).get(row.id, [])
    return view(ctx, row, domain.name, fault_set.name if fault_set else None, held)


def why_not(ctx: context.Context, tx: unit_of_work.Tx, row: models.Sds) -> str:
    """Why an SDS that answers is not simply forgotten."""
    query = (
        select(models.Volume.name)
        .join(models.Replica, models.Replica.volume_id == models.Volume.id)
        .join(models.Device, models.Device.id == models.Replica.device_id)
        .where(models.Device.sds_id == row.id, models.Volume.state != "deleting")
        .distinct()
        .order_by(models.Volume.name)
    )
    names = list(tx.session.scalars(query))
    if names:
        return (
            f"its devices hold replicas of {refs.some(names)}; move them elsewhere with it "
            f"(basalt sds remove {row.name} --evacuate)"
        )
    held = devices.by_sds(ctx, tx, row.id).get(row.id, [])
    paths = refs.some([device["path"] for device in held])
    return (
        f"it has {len(held)} devices ({paths}); remove them with it "
        f"(basalt sds remove {row.name} --evacuate)"
    )


def _with_names() -> sqlalchemy.Select[models.Sds, str, str]:
    return (
        select(models.Sds, models.Domain.name, models.FaultSet.name)
        .join(models.Domain, models.Domain.id == models.Sds.domain_id)
        .outerjoin(models.FaultSet, models.FaultSet.id == models.Sds.fault_set_id)
    )

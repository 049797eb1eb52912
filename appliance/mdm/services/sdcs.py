"""SDCs, the clients that map volumes, as people see them."""

from typing import Any

from sqlalchemy import select

from appliance.common import errors
from appliance.mdm import bodies, shapes
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import context, pages, reach, refs


def get(ctx: context.Context, ref: str) -> shapes.Sdc:
    with ctx.uow.read() as tx:
        row = refs.find(tx, models.Sdc, ref)
        return _view(ctx, row, _volumes(tx, row.id).get(row.id, []))


def list_page(ctx: context.Context, page: bodies.Page) -> dict[str, Any]:
    with ctx.uow.read() as tx:
        query = pages.limited(select(models.Sdc), models.Sdc.name, models.Sdc.id, page)
        mapped = _volumes(tx)
        rows = [_view(ctx, row, mapped.get(row.id, [])) for row in tx.session.scalars(query)]
        return pages.cut(rows, "name", page)


def all_in(ctx: context.Context, tx: unit_of_work.Tx) -> list[shapes.Sdc]:
    """Every SDC in order of name, within a transaction that goes on."""
    mapped = _volumes(tx)
    query = select(models.Sdc).order_by(models.Sdc.name)
    return [_view(ctx, row, mapped.get(row.id, [])) for row in tx.session.scalars(query)]


def update(ctx: context.Context, actor: str, ref: str, change: bodies.SdcChange) -> shapes.Sdc:
    """Raises errors.AlreadyExists, or InUse when approval of a client in use is taken away."""
    with ctx.uow.write(actor) as tx:
        row = refs.find(tx, models.Sdc, ref)
        mapped = _volumes(tx, row.id).get(row.id, [])
        wanted = {k: v for k, v in change.wanted().items() if getattr(row, k) != v}
        if change.name is not None and "name" in wanted:
            refs.check_free(tx, models.Sdc, change.name)
        if wanted.get("approved") is False and mapped:
            raise errors.InUse(kind="SDC", key=row.name, why=_has(mapped))
        for key, value in wanted.items():
            setattr(row, key, value)
        if wanted:
            tx.event("sdc_changed", "sdc", row.id, row.name, new=wanted)
            tx.after_commit(ctx.tokens_changed)
        return _view(ctx, row, mapped)


def delete(ctx: context.Context, actor: str, ref: str) -> None:
    """Forget a client; its secret ends. Raises errors.InUse while a volume is mapped there."""
    with ctx.uow.write(actor) as tx:
        row = refs.find(tx, models.Sdc, ref)
        mapped = _volumes(tx, row.id).get(row.id, [])
        if mapped:
            raise errors.InUse(kind="SDC", key=row.name, why=_has(mapped))
        tx.event("sdc_removed", "sdc", row.id, row.name)
        tx.session.delete(row)
        tx.after_commit(ctx.tokens_changed)
        ident = row.id
        tx.after_commit(lambda: ctx.statistics.forget(ident))


def _has(mapped: list[str]) -> str:
    more = f" and {len(mapped) - 5} more" if len(mapped) > 5 else ""
    return f"it has volumes mapped ({', '.join(mapped[:5])}{more}); unmap them first"


def _volumes(tx: unit_of_work.Tx, sdc_id: str | None = None) -> dict[str, list[str]]:
    """Names of the volumes mapped, by SDC id."""
    query = (
        select(models.Mapping.sdc_id, models.Volume.name)
        .join(models.Volume, models.Volume.id == models.Mapping.volume_id)
        .order_by(models.Volume.name)
    )
    if sdc_id is not None:
        query = query.where(models.Mapping.sdc_id == sdc_id)
    found: dict[str, list[str]] = {}
    for ident, name in tx.session.execute(query):
        found.setdefault(ident, []).append(name)
    return found


def _view(ctx: context.Context, row: models.Sdc, mapped: list[str]) -> shapes.Sdc:
    state, last_seen_s = reach.agent(ctx, row.id)
    word, reason = reach.agent_health(state, last_seen_s, ctx.liveness.refuses(row.id))
    return {
        "id": row.id,
        "name": row.name,
        "approved": row.approved,
        "health": word.value,
        "reason": reason,
        "hosts": list(row.hosts),
        "control_port": row.control_port,
        "last_seen_s": last_seen_s,
        "clock_skew_s": ctx.statistics.skew_s(row.id),
        "volumes": mapped,
        "version": row.version,
        "created_at": row.created_at,
    }

"""Protection domains: sets of SDSs that data never leaves."""

import secrets
from typing import Any

import sqlalchemy
from sqlalchemy import select

from appliance.common import errors
from appliance.mdm import bodies, shapes
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import context, pages, refs


def create(ctx: context.Context, actor: str, new: bodies.NewDomain) -> shapes.Domain:
    """Raises errors.AlreadyExists."""
    with ctx.uow.write(actor) as tx:
        return _view(add(tx, new.name))


def add(tx: unit_of_work.Tx, name: str) -> models.Domain:
    """A new domain within a transaction that goes on."""
    refs.check_free(tx, models.Domain, name)
    row = models.Domain(id=secrets.token_hex(8), name=name, created_at=tx.now)
    tx.session.add(row)
    tx.session.flush()  # others may refer to it in this transaction
    tx.event("domain_created", "domain", row.id, row.name)
    return row


def get(ctx: context.Context, ref: str) -> shapes.Domain:
    with ctx.uow.read() as tx:
        return _view(refs.find(tx, models.Domain, ref))


def list_page(ctx: context.Context, page: bodies.Page) -> dict[str, Any]:
    with ctx.uow.read() as tx:
        query = pages.limited(select(models.Domain), models.Domain.name, models.Domain.id, page)
        return pages.cut([_view(row) for row in tx.session.scalars(query)], "name", page)


def update(
    ctx: context.Context, actor: str, ref: str, change: bodies.DomainChange
) -> shapes.Domain:
    """Raises errors.AlreadyExists."""
    with ctx.uow.write(actor) as tx:
        row = refs.find(tx, models.Domain, ref)
        if change.name is not None and change.name != row.name:
            refs.check_free(tx, models.Domain, change.name)
            tx.event("domain_renamed", "domain", row.id, change.name, old=row.name)
            row.name = change.name
        delay_s = change.rebuild_delay_s
        if delay_s is not None and delay_s != row.rebuild_delay_s:
            changes = {"old": row.rebuild_delay_s, "rebuild_delay_s": delay_s}
            tx.event("domain_changed", "domain", row.id, row.name, **changes)
            row.rebuild_delay_s = delay_s
        return _view(row)


def delete(ctx: context.Context, actor: str, ref: str) -> None:
    """Raises errors.InUse while anything lies in it."""
    with ctx.uow.write(actor) as tx:
        row = refs.find(tx, models.Domain, ref)
        for model, kind in (
            (models.Sds, "SDSs"),
            (models.Pool, "pools"),
            (models.FaultSet, "fault sets"),
        ):
            names = _names(tx, model, row.id)
            if names:
                raise errors.InUse(
                    kind="domain", key=row.name, why=f"it has {kind} ({names}); remove them first"
                )
        tx.event("domain_deleted", "domain", row.id, row.name)
        tx.session.delete(row)


def _names(tx: unit_of_work.Tx, model: Any, domain_id: str) -> str:
    query = select(model.name).where(model.domain_id == domain_id).order_by(model.name)
    names = list(tx.session.scalars(query.limit(5)))
    if len(names) == 5:
        count = select(sqlalchemy.func.count()).where(model.domain_id == domain_id)
        names[4:] = [f"… {tx.session.scalar(count)} in all"]
    return ", ".join(names)


def _view(row: models.Domain) -> shapes.Domain:
    return {
        "id": row.id,
        "name": row.name,
        "rebuild_delay_s": row.rebuild_delay_s,
        "created_at": row.created_at,
    }

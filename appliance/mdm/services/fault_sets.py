"""Fault sets: SDSs that fail together; two replicas of one column never lie in one."""

import secrets
from typing import Any

from sqlalchemy import select

from appliance.common import errors
from appliance.mdm import bodies, shapes
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import context, pages, refs


def create(ctx: context.Context, actor: str, new: bodies.NewFaultSet) -> shapes.FaultSet:
    """Raises errors.AlreadyExists, or NotFound for the domain."""
    with ctx.uow.write(actor) as tx:
        domain = refs.find(tx, models.Domain, new.domain)
        return _view(add(tx, domain, new.name), domain)


def add(tx: unit_of_work.Tx, domain: models.Domain, name: str) -> models.FaultSet:
    """A new fault set within a transaction that goes on."""
    refs.check_free(tx, models.FaultSet, name, domain.id)
    row = models.FaultSet(id=secrets.token_hex(8), domain_id=domain.id, name=name)
    tx.session.add(row)
    tx.session.flush()  # an SDS may refer to it in this transaction
    tx.event("fault_set_created", "fault_set", row.id, row.name, domain=domain.name)
    return row


def get(ctx: context.Context, ref: str) -> shapes.FaultSet:
    with ctx.uow.read() as tx:
        row = refs.find(tx, models.FaultSet, ref)
        return _view(row, tx.session.get_one(models.Domain, row.domain_id))


def list_page(ctx: context.Context, page: bodies.Page) -> dict[str, Any]:
    with ctx.uow.read() as tx:
        query = select(models.FaultSet, models.Domain).join(
            models.Domain, models.Domain.id == models.FaultSet.domain_id
        )
        query = pages.limited(query, models.FaultSet.name, models.FaultSet.id, page)
        return pages.cut([_view(row, of) for row, of in tx.session.execute(query)], "name", page)


def rename(ctx: context.Context, actor: str, ref: str, change: bodies.Rename) -> shapes.FaultSet:
    """Raises errors.AlreadyExists."""
    with ctx.uow.write(actor) as tx:
        row = refs.find(tx, models.FaultSet, ref)
        if change.name is not None and change.name != row.name:
            refs.check_free(tx, models.FaultSet, change.name, row.domain_id)
            tx.event("fault_set_renamed", "fault_set", row.id, change.name, old=row.name)
            row.name = change.name
        return _view(row, tx.session.get_one(models.Domain, row.domain_id))


def delete(ctx: context.Context, actor: str, ref: str) -> None:
    """Raises errors.InUse while an SDS belongs to it."""
    with ctx.uow.write(actor) as tx:
        row = refs.find(tx, models.FaultSet, ref)
        query = select(models.Sds.name).where(models.Sds.fault_set_id == row.id)
        names = sorted(tx.session.scalars(query))
        if names:
            raise errors.InUse(
                kind="fault set",
                key=row.name,
                why=f"it has SDSs ({', '.join(names[:5])}); remove them first",
            )
        tx.event("fault_set_deleted", "fault_set", row.id, row.name)
        tx.session.delete(row)


def _view(row: models.FaultSet, domain: models.Domain) -> shapes.FaultSet:
    return {"id": row.id, "name": row.name, "domain": domain.name, "domain_id": domain.id}

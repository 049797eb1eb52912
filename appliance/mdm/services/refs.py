"""Finds what people name: an id, or a name where names are. Called by every other service."""

from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase

from appliance.common import errors
from appliance.mdm import bodies
from appliance.mdm.db import models, unit_of_work

R = TypeVar("R", bound=DeclarativeBase)

#: What each kind is called in messages, events and jobs.
KINDS: dict[type[DeclarativeBase], str] = {
    models.Domain: "domain",
    models.FaultSet: "fault set",
    models.Pool: "pool",
    models.Sds: "sds",
    models.Device: "device",
    models.Sdc: "sdc",
    models.Volume: "volume",
    models.Mapping: "mapping",
    models.Job: "job",
    models.Token: "token",
}


def find(tx: unit_of_work.Tx, model: type[R], ref: str) -> R:
    """The row that ``ref`` means. Raises errors.NotFound, or Conflict if it means several."""
    kind = KINDS[model]
    if bodies.is_id(ref):
        row = tx.session.get(model, ref)
        if row is None:
            raise errors.NotFound(kind=kind, key=ref)
        return row
    column = getattr(model, "name", None)
    rows = [] if column is None else list(tx.session.scalars(select(model).where(column == ref)))
    if not rows:
        raise errors.NotFound(kind=kind, key=ref[:80])
    if len(rows) > 1:
        raise errors.Conflict(
            why=f"there are {len(rows)} {kind}s named '{ref}', in different domains; use the id"
        )
    return rows[0]


def check_free(
    tx: unit_of_work.Tx, model: type[R], name: str, domain_id: str | None = None
) -> None:
    """Raise errors.AlreadyExists if ``name`` is taken (in the domain, if one is given)."""
    query = select(model).where(getattr(model, "name") == name)  # noqa: B009 - not on the base
    if domain_id is not None:
        query = query.where(getattr(model, "domain_id") == domain_id)  # noqa: B009
    if tx.session.scalars(query).first() is not None:
        raise errors.AlreadyExists(kind=KINDS[model], key=name)


def some(names: list[str]) -> str:
    """Some of ``names``, and how many more there are."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more

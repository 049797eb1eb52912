"""The event log: every change, who made it, and when. Written through ``tx.event`` only."""

from typing import Any

import sqlalchemy
from sqlalchemy import func, or_, select

from appliance.mdm import bodies, shapes
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import context

#: Rows deleted in one transaction: others must not wait long for the write lock.
_BATCH = 1000


def list_page(ctx: context.Context, page: bodies.EventPage) -> dict[str, Any]:
    """Those that ``page`` describes; ``next`` is where the following page begins."""
    query = select(models.Event).where(models.Event.seq > page.after)
    if page.before is not None:
        query = query.where(models.Event.seq < page.before)
    if page.subject is not None:
        event = models.Event
        query = query.where(
            or_(event.subject_id == page.subject, event.subject_name == page.subject)
        )
    if page.kind is not None:
        query = query.where(models.Event.kind == page.kind)
    order = models.Event.seq.desc() if page.order == "desc" else models.Event.seq
    with ctx.uow.read() as tx:
        rows = list(tx.session.scalars(query.order_by(order).limit(page.limit + 1)))
        items = [_view(row) for row in rows[: page.limit]]
    return {"items": items, "next": str(items[-1]["seq"]) if len(rows) > page.limit else None}


def count(tx: unit_of_work.Tx) -> int:
    return tx.session.scalar(select(func.count()).select_from(models.Event)) or 0


def prune(ctx: context.Context, before: float) -> int:
    """Delete events and finished jobs older than ``before``; how many. Called by the loop."""
    deleted = 0
    while gone := _prune_some(ctx, before):
        deleted += gone
    return deleted


def _prune_some(ctx: context.Context, before: float) -> int:
    old_events = select(models.Event.seq).where(models.Event.at < before).limit(_BATCH)
    old_jobs = select(models.Job.id).where(models.Job.finished_at < before).limit(_BATCH)
    with ctx.uow.write("mdm") as tx:
        gone = tx.session.execute(
            sqlalchemy.delete(models.Event)
            .where(models.Event.seq.in_(old_events))
            .returning(models.Event.seq)
        ).all()
        ended = tx.session.execute(
            sqlalchemy.delete(models.Job)
            .where(models.Job.id.in_(old_jobs))
            .returning(models.Job.id)
        ).all()
        return len(gone) + len(ended)


def _view(row: models.Event) -> shapes.Event:
    return {
        "seq": row.seq,
        "at": row.at,
        "who": row.who,
        "request_id": row.request_id,
        "kind": row.kind,
        "subject_kind": row.subject_kind,
        "subject_id": row.subject_id,
        "subject": row.subject_name,
        "detail": row.detail,
    }

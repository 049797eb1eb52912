"""The record of every change that people make here, kept in the change's own transaction."""

from typing import Any

from sqlalchemy import select

from appliance.common import log
from appliance.mgmt.db import database, models

_LIMIT = 200


def note(
    tx: database.Tx,
    who: str,
    what: str,
    subject: str,
    peer: str,
    outcome: str = "done",
    **detail: Any,
) -> None:
    """``detail`` never holds a secret."""
    tx.session.add(
        models.Audit(
            at=tx.now,
            who=who,
            what=what,
            subject=subject,
            peer=peer,
            request_id=log.request_id(),
            outcome=outcome,
            detail=detail,
        )
    )


def newest(db: database.Database, before: int | None = None, limit: int = _LIMIT) -> dict[str, Any]:
    """``{"items", "next"}``, newest first; ``before`` is the ``next`` of the page before."""
    query = select(models.Audit).order_by(models.Audit.seq.desc())
    if before is not None:
        query = query.where(models.Audit.seq < before)
    with db.read() as tx:
        rows = list(tx.session.scalars(query.limit(limit + 1)))
        items = [_view(row) for row in rows[:limit]]
    return {"items": items, "next": items[-1]["seq"] if len(rows) > limit else None}


def _view(row: models.Audit) -> dict[str, Any]:
    return {
        "seq": row.seq,
        "at": row.at,
        "who": row.who,
        "what": row.what,
        "subject": row.subject,
        "peer": row.peer,
        "request_id": row.request_id,
        "outcome": row.outcome,
        "detail": row.detail,
    }

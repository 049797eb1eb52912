"""Alerts in the database: raised once, cleared once, and what people do in between.

active → acknowledged → resolved; a suppressed one is kept quiet until a time and then becomes
active if it still holds. Every change of status puts a message for each channel into the queue,
in the same transaction.
"""

import secrets
from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy
from sqlalchemy import func, or_, select

from appliance.common import errors
from appliance.mgmt.alerts import catalog, engine
from appliance.mgmt.db import database, models
from appliance.mgmt.delivery import queue
from appliance.mgmt.services import audit, identity

ACTIVE, ACKNOWLEDGED, RESOLVED, SUPPRESSED = "active", "acknowledged", "resolved", "suppressed"
OPEN = (ACTIVE, ACKNOWLEDGED, SUPPRESSED)
STATUSES = (ACTIVE, ACKNOWLEDGED, SUPPRESSED, RESOLVED)

_LONGEST_S = 90 * 86400


def open_keys(db: database.Database) -> list[engine.Key]:
    with db.read() as tx:
        query = select(models.Alert.rule_id, models.Alert.component_id)
        rows = tx.session.execute(query.where(models.Alert.status.in_(OPEN)))
        return [(rule_id, component_id) for rule_id, component_id in rows]


def keep(
    db: database.Database,
    rules: Mapping[str, engine.Rule],
    outcome: engine.Outcome,
    by_hand: Collection[str] = (),
) -> None:
    """Write down what the engine found; nothing is written if nothing changed."""
    with db.read() as tx:
        ended = list(tx.session.scalars(_over(tx)))
    if not (outcome.raised or outcome.cleared or ended):
        return
    with db.write() as tx:
        for reading in outcome.raised:
            _raise(tx, rules[reading.rule_id], reading)
        for rule_id, component_id in outcome.cleared:
            if rule_id in by_hand:
                continue
            row = _open(tx, rule_id, component_id)
            if row is not None:
                _resolve(tx, row)
        for row in list(tx.session.scalars(_over(tx))):
            row.status = ACTIVE
            queue.enqueue(tx, row, "raised")


def acknowledge(db: database.Database, by: identity.Identity, ident: str) -> dict[str, Any]:
    """Somebody looks after it. Raises errors.NotFound, or Conflict unless it is active."""
    with db.write() as tx:
        row = find(tx, ident)
        if row.status != ACTIVE:
            raise errors.Conflict(why=f"this alert is {row.status}; only an active one is taken")
        row.status, row.acknowledged_at = ACKNOWLEDGED, tx.now
        row.acknowledged_by_user_id = by.user_id
        queue.enqueue(tx, row, "acknowledged")
        audit.note(tx, by.name, "alert_acknowledged", row.message, by.peer, alert=row.id)
        return view(row, tx.now)


def resolve(
    db: database.Database, by: identity.Identity, ident: str, holds: Collection[engine.Key]
) -> dict[str, Any]:
    """By hand. Raises errors.Conflict while its condition ``holds``: it would be raised again."""
    with db.write() as tx:
        row = find(tx, ident)
        if row.status == RESOLVED:
            raise errors.Conflict(why="this alert is resolved already")
        if (row.rule_id, row.component_id) in holds:
            raise errors.Conflict(
                why="what it says is still so, and it would be raised again at once; put that "
                "right and it resolves by itself, or suppress it for a time"
            )
        _resolve(tx, row)
        audit.note(tx, by.name, "alert_resolved", row.message, by.peer, alert=row.id)
        return view(row, tx.now)


def suppress(
    db: database.Database, by: identity.Identity, ident: str, until: float, reason: str
) -> dict[str, Any]:
    """Keep it quiet until ``until``, and whatever its rule finds of this component meanwhile."""
    if not reason.strip() or len(reason) > 200:
        raise errors.Invalid(what="reason", why="say why, in 1 to 200 characters")
    with db.write() as tx:
        row = find(tx, ident)
        if not tx.now < until <= tx.now + _LONGEST_S:
            raise errors.Invalid(what="until", why="give a time in the future, 90 days at most")
        if row.status == RESOLVED:
            raise errors.Conflict(why="this alert is resolved already")
        tx.session.add(
            models.Suppression(
                id=secrets.token_hex(8),
                rule_id=row.rule_id,
                component_id=row.component_id,
                until=until,
                reason=reason.strip(),
                by=by.name,
                created_at=tx.now,
            )
        )
        row.status = SUPPRESSED
        row.details_json = row.details_json | {
            "suppressed_until": until, "suppressed_reason": reason.strip(), "suppressed_by": by.name
        }  # fmt: skip
        queue.enqueue(tx, row, "suppressed")
        audit.note(
            tx, by.name, "alert_suppressed", row.message, by.peer,
            alert=row.id, until=until, reason=reason.strip(),
        )  # fmt: skip
        return view(row, tx.now)


def page(
    db: database.Database,
    status: str = "open",
    search: str = "",
    after: str | None = None,
    limit: int = 50,
) -> dict[str, Any]:
    """Newest first; ``status`` is one of them, ``open`` or ``all``. ``after``: the ``next``."""
    alert = models.Alert
    query = select(alert)
    if status == "open":
        query = query.where(alert.status.in_(OPEN))
    elif status in STATUSES:
        query = query.where(alert.status == status)
    if search:
        query = query.where(
            or_(
                alert.message.contains(search, autoescape=True),
                alert.component_name.contains(search, autoescape=True),
            )
        )
    if after:
        fired, _, ident = after.partition("~")
        try:
            cursor = (float(fired), ident)
        except ValueError as exc:
            raise errors.Invalid(what="after", why="give the 'next' of the page before") from exc
        query = query.where(sqlalchemy.tuple_(alert.fired_at, alert.id) < cursor)
    query = query.order_by(alert.fired_at.desc(), alert.id.desc()).limit(limit + 1)
    with db.read() as tx:
        rows = list(tx.session.scalars(query))
        items = [view(row, tx.now) for row in rows[:limit]]
    last = items[-1] if len(rows) > limit else None
    return {"items": items, "next": f"{last['fired_at']!r}~{last['id']}" if last else None}


def get(db: database.Database, ident: str) -> dict[str, Any]:
    with db.read() as tx:
        return view(find(tx, ident), tx.now)


def active(db: database.Database) -> int:
    """How many nobody looks after yet; asked for by every page."""
    query = select(func.count()).select_from(models.Alert).where(models.Alert.status == ACTIVE)
    with db.read() as tx:
        return tx.session.scalar(query) or 0


def counts(db: database.Database) -> dict[str, dict[str, int]]:
    """How many there are: ``by_status``, and of the active and acknowledged ``by_severity``."""
    alert = models.Alert
    with db.read() as tx:
        by_status = dict.fromkeys(STATUSES, 0)
        query = select(alert.status, func.count()).group_by(alert.status)
        by_status.update(tx.session.execute(query).all())
        by_severity = dict.fromkeys(catalog.SEVERITIES, 0)
        open_ = select(alert.severity, func.count()).where(alert.status.in_((ACTIVE, ACKNOWLEDGED)))
        by_severity.update(tx.session.execute(open_.group_by(alert.severity)).all())
    return {"by_status": by_status, "by_severity": by_severity}


def prune(db: database.Database, before: float) -> None:
    """Delete alerts resolved before, and suppressions that ended before."""
    with db.write() as tx:
        tx.session.execute(
            sqlalchemy.delete(models.Alert).where(
                models.Alert.status == RESOLVED, models.Alert.resolved_at < before
            )
        )
        tx.session.execute(
            sqlalchemy.delete(models.Suppression).where(models.Suppression.until < before)
        )


def find(tx: database.Tx, ident: str) -> models.Alert:
    row = tx.session.get(models.Alert, ident)
    if row is None:
        raise errors.NotFound(kind="alert", key=ident[:40])
    return row


def view(row: models.Alert, now: float) -> dict[str, Any]:
    entry = catalog.BY_ID.get(row.rule_id)
    return {
        "id": row.id,
        "rule_id": row.rule_id,
        "title": entry.title if entry else row.rule_id,
        "component_id": row.component_id,
        "component_type": row.component_type,
        "component_name": row.component_name,
        "status": row.status,
        "severity": row.severity,
        "message": row.message,
        "metric_value": row.metric_value,
        "threshold_value": row.threshold_value,
        "unit": entry.unit if entry else "",
        "fired_at": row.fired_at,
        "acknowledged_at": row.acknowledged_at,
        "acknowledged_by_user_id": row.acknowledged_by_user_id,
        "resolved_at": row.resolved_at,
        "details_json": row.details_json,
        "age_seconds": round(max(0.0, now - row.fired_at), 3),
        "meaning": entry.meaning if entry else "",
        "what_to_do": entry.what_to_do if entry else "",
    }


def _raise(tx: database.Tx, rule: engine.Rule, reading: engine.Reading) -> None:
    if _open(tx, *reading.key) is not None or _told(tx, reading):
        return  # raised before a restart
    quiet = _suppression(tx, *reading.key)
    details = dict(reading.details)
    if quiet is not None:
        details |= {
            "suppressed_until": quiet.until,
            "suppressed_reason": quiet.reason,
            "suppressed_by": quiet.by,
        }
    row = models.Alert(
        id=secrets.token_hex(8),
        open_key="/".join(reading.key),
        rule_id=rule.id,
        component_id=reading.component_id,
        component_type=reading.component_type,
        component_name=reading.component_name,
        status=SUPPRESSED if quiet is not None else ACTIVE,
        severity=rule.severity,
        message=reading.message,
        metric_value=float(reading.value),
        threshold_value=rule.threshold,
        fired_at=tx.now,
        details_json=details,
    )
    tx.session.add(row)
    tx.session.flush()
    if quiet is None:
        queue.enqueue(tx, row, "raised")


def _resolve(tx: database.Tx, row: models.Alert) -> None:
    told = row.status != SUPPRESSED
    row.status, row.resolved_at, row.open_key = RESOLVED, tx.now, row.id
    if told:
        queue.enqueue(tx, row, "resolved")


def _open(tx: database.Tx, rule_id: str, component_id: str) -> models.Alert | None:
    query = select(models.Alert).where(models.Alert.open_key == f"{rule_id}/{component_id}")
    return tx.session.scalars(query).first()


def _told(tx: database.Tx, reading: engine.Reading) -> bool:
    """Whether an event was told of by an alert that is resolved by now."""
    if "at" not in reading.details:
        return False
    query = select(func.max(models.Alert.fired_at)).where(
        models.Alert.rule_id == reading.rule_id,
        models.Alert.component_id == reading.component_id,
    )
    newest = tx.session.scalar(query)
    return newest is not None and bool(newest >= reading.details["at"])


def _suppression(tx: database.Tx, rule_id: str, component_id: str) -> models.Suppression | None:
    query = (
        select(models.Suppression)
        .where(
            models.Suppression.rule_id == rule_id,
            or_(
                models.Suppression.component_id == component_id,
                models.Suppression.component_id.is_(None),
            ),
            models.Suppression.until > tx.now,
        )
        .order_by(models.Suppression.until.desc())
    )
    return tx.session.scalars(query).first()


def _over(tx: database.Tx) -> sqlalchemy.Select[models.Alert]:
    """Suppressed alerts that nothing suppresses any more."""
    still = (
        select(models.Suppression.id)
        .where(
            models.Suppression.rule_id == models.Alert.rule_id,
            or_(
                models.Suppression.component_id == models.Alert.component_id,
                models.Suppression.component_id.is_(None),
            ),
            models.Suppression.until > tx.now,
        )
        .exists()
    )
    return select(models.Alert).where(models.Alert.status == SUPPRESSED, ~still)

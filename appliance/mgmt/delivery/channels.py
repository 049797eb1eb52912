"""Channels: made, changed, tested and deleted by administrators. Secrets go in and never out."""

import secrets
from types import ModuleType
from typing import Any

import sqlalchemy
from sqlalchemy import func, select

from appliance.common import errors
from appliance.mgmt.alerts import catalog
from appliance.mgmt.db import database, models
from appliance.mgmt.delivery import queue, smtp, snmp, webhook
from appliance.mgmt.services import audit, identity

KINDS: dict[str, ModuleType] = {"webhook": webhook, "smtp": smtp, "snmp": snmp}

_SECRETS = ("secret", "privacy_secret")
_HIDDEN = "(set)"


def send(kind: str, settings: dict[str, Any], message: dict[str, Any]) -> None:
    """Over one channel, now. Raises errors.Unreachable."""
    KINDS[kind].send(settings, message)


def listed(db: database.Database) -> list[dict[str, Any]]:
    """With the last error and the numbers of messages sent, waiting and failed."""
    with db.read() as tx:
        query = select(
            models.Delivery.channel_id, models.Delivery.state, func.count(models.Delivery.id)
        ).group_by(models.Delivery.channel_id, models.Delivery.state)
        numbers: dict[str, dict[str, int]] = {}
        for channel_id, state, count in tx.session.execute(query):
            numbers.setdefault(channel_id, {})[state] = count
        rows = tx.session.scalars(select(models.Channel).order_by(models.Channel.name))
        return [_view(row, numbers.get(row.id, {}), _last_error(tx, row.id)) for row in rows]


def create(
    db: database.Database,
    by: identity.Identity,
    name: str,
    kind: str,
    min_severity: str,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Raises errors.Invalid, AlreadyExists."""
    if kind not in KINDS:
        raise errors.Invalid(what="kind", why=f"one of {', '.join(KINDS)}")
    if not 1 <= len(name) <= 60 or not name.isprintable():
        raise errors.Invalid(what="name", why="give 1 to 60 printable characters")
    if min_severity not in catalog.SEVERITIES:
        raise errors.Invalid(what="min_severity", why=f"one of {', '.join(catalog.SEVERITIES)}")
    checked = KINDS[kind].check(settings)
    with db.write() as tx:
        if tx.session.scalars(select(models.Channel).where(models.Channel.name == name)).first():
            raise errors.AlreadyExists(kind="channel", key=name)
        row = models.Channel(
            id=secrets.token_hex(8),
            name=name,
            kind=kind,
            settings=checked,
            min_severity=min_severity,
            enabled=True,
            created_at=tx.now,
        )
        tx.session.add(row)
        audit.note(tx, by.name, "channel_created", name, by.peer, kind=kind)
        return _view(row, {}, "")


def enable(
    db: database.Database, by: identity.Identity, ident: str, enabled: bool
) -> dict[str, Any]:
    with db.write() as tx:
        row = _find(tx, ident)
        row.enabled = enabled
        audit.note(tx, by.name, "channel_changed", row.name, by.peer, enabled=enabled)
        return _view(row, {}, "")


def delete(db: database.Database, by: identity.Identity, ident: str) -> None:
    """With its messages, sent or not."""
    with db.write() as tx:
        row = _find(tx, ident)
        tx.session.execute(
            sqlalchemy.delete(models.Delivery).where(models.Delivery.channel_id == row.id)
        )
        audit.note(tx, by.name, "channel_deleted", row.name, by.peer)
        tx.session.delete(row)


def test(db: database.Database, by: identity.Identity, ident: str) -> None:
    """Send a test message now; if it is taken, the channel counts as working again.

    Raises errors.Unreachable with what went wrong.
    """
    with db.read() as tx:
        row = _find(tx, ident)
        kind, settings, name, now = row.kind, row.settings, row.name, tx.now
    outcome = "failed"
    try:
        send(kind, settings, queue.test_message(now))
        outcome = "done"
    finally:
        with db.write() as tx:
            if outcome == "done":
                queue.tested(tx, _find(tx, ident))
            audit.note(tx, by.name, "channel_tested", name, by.peer, outcome)


def _find(tx: database.Tx, ident: str) -> models.Channel:
    row = tx.session.get(models.Channel, ident)
    if row is None:
        raise errors.NotFound(kind="channel", key=ident[:40])
    return row


def _last_error(tx: database.Tx, channel_id: str) -> str:
    query = (
        select(models.Delivery.error)
        .where(models.Delivery.channel_id == channel_id, models.Delivery.error != "")
        .order_by(models.Delivery.id.desc())
        .limit(1)
    )
    return tx.session.scalar(query) or ""


def _view(row: models.Channel, numbers: dict[str, int], last_error: str) -> dict[str, Any]:
    shown = {
        key: (_HIDDEN if value else "") if key in _SECRETS else value
        for key, value in row.settings.items()
    }
    return {
        "id": row.id,
        "name": row.name,
        "kind": row.kind,
        "min_severity": row.min_severity,
        "enabled": row.enabled,
        "settings": shown,
        "sent": numbers.get("sent", 0),
        "waiting": numbers.get("waiting", 0),
        "failed": numbers.get("failed", 0),
        "last_error": last_error,
        "created_at": row.created_at,
    }

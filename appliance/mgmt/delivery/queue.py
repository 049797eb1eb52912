"""Messages waiting to be delivered: put in with the change they tell of, sent by one loop.

A message is tried with growing pauses until it is too old to be of use; then it counts as failed
and an alert about that is raised, which is over once the channel takes a message again, be it a
test. A channel may tell of the same change twice (never of none).
"""

import logging
import threading
from collections.abc import Callable
from typing import Any

import sqlalchemy
from sqlalchemy import func, orm, select

from appliance.common import errors
from appliance.mgmt.alerts import catalog
from appliance.mgmt.db import database, models

logger = logging.getLogger(__name__)

#: Pauses between tries; the message is given up after the last one.
RETRY_S = (2.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0)

#: Messages sent in one round.
_BATCH = 50

Send = Callable[[str, dict[str, Any], dict[str, Any]], None]


def enqueue(tx: database.Tx, alert: models.Alert, event: str) -> None:
    """A message for every channel that wants alerts of this severity."""
    wanted = catalog.SEVERITIES.index(alert.severity)
    for channel in tx.session.scalars(select(models.Channel).where(models.Channel.enabled)):
        if wanted >= catalog.SEVERITIES.index(channel.min_severity):
            tx.session.add(
                models.Delivery(
                    channel_id=channel.id,
                    alert_id=alert.id,
                    state="waiting",
                    attempts=0,
                    next_at=tx.now,
                    error="",
                    message=message(alert, event, tx.now),
                    created_at=tx.now,
                )
            )


def tested(tx: database.Tx, channel: models.Channel) -> None:
    """Note that ``channel`` took a test message: it works again."""
    tx.session.add(
        models.Delivery(
            channel_id=channel.id,
            alert_id="test",
            state="sent",
            attempts=1,
            next_at=tx.now,
            error="",
            message=test_message(tx.now),
            created_at=tx.now,
            sent_at=tx.now,
        )
    )


def message(alert: models.Alert, event: str, now: float) -> dict[str, Any]:
    """What is sent; ``event``: raised, acknowledged, suppressed, resolved or test."""
    entry = catalog.BY_ID.get(alert.rule_id)
    return {
        "event": event,
        "at": now,
        "alert_id": alert.id,
        "rule_id": alert.rule_id,
        "title": entry.title if entry else alert.rule_id,
        "severity": alert.severity,
        "status": alert.status,
        "component_type": alert.component_type,
        "component_id": alert.component_id,
        "component_name": alert.component_name,
        "message": alert.message,
        "metric_value": alert.metric_value,
        "threshold_value": alert.threshold_value,
        "fired_at": alert.fired_at,
        "meaning": entry.meaning if entry else "",
        "what_to_do": entry.what_to_do if entry else "",
    }


def test_message(now: float) -> dict[str, Any]:
    return {
        "event": "test", "at": now, "alert_id": "test", "rule_id": "test", "title": "Test message",
        "severity": "info", "status": "active", "component_type": "mgmt", "component_id": "mgmt",
        "component_name": "MGMT", "message": "This is a test: alerts of Basalt arrive here.",
        "metric_value": 0.0, "threshold_value": 0.0, "fired_at": now,
        "meaning": "Somebody pressed the test button of this channel.", "what_to_do": "Nothing.",
    }  # fmt: skip


class Queue:
    """``run_once`` is called by one loop; ``send(kind, settings, message)`` blocks for seconds at
    most and raises errors.Unreachable."""

    def __init__(self, db: database.Database, send: Send) -> None:
        self._db = db
        self._send = send
        self._busy = threading.Lock()

    def run_once(self) -> None:
        with self._busy:
            for ident, kind, settings, text in self._due():
                self._try(ident, kind, settings, text)

    def failed(self) -> dict[str, tuple[int, str]]:
        """Messages given up since the channel last took one, and an error, by channel name.

        A channel that was switched off is not waited for.
        """
        row, channel = models.Delivery, models.Channel
        other = orm.aliased(row)
        taken = select(func.max(other.sent_at)).where(other.channel_id == channel.id)
        with self._db.read() as tx:
            query = (
                select(channel.name, func.count(), func.max(row.error))
                .join(row, row.channel_id == channel.id)
                .where(
                    row.state == "failed",
                    channel.enabled,
                    row.next_at > func.coalesce(taken.scalar_subquery(), 0.0),
                )
                .group_by(channel.name)
            )
            return {name: (count, error) for name, count, error in tx.session.execute(query)}

    def prune(self, before: float) -> None:
        with self._db.write() as tx:
            tx.session.execute(
                sqlalchemy.delete(models.Delivery).where(
                    models.Delivery.created_at < before, models.Delivery.state != "waiting"
                )
            )

    def _due(self) -> list[tuple[int, str, dict[str, Any], dict[str, Any]]]:
        with self._db.read() as tx:
            query = (
                select(models.Delivery, models.Channel)
                .join(models.Channel, models.Channel.id == models.Delivery.channel_id)
                .where(models.Delivery.state == "waiting", models.Delivery.next_at <= tx.now)
                .order_by(models.Delivery.id)
                .limit(_BATCH)
            )
            return [
                (row.id, channel.kind, channel.settings, row.message)
                for row, channel in tx.session.execute(query)
            ]

    def _try(self, ident: int, kind: str, settings: dict[str, Any], text: dict[str, Any]) -> None:
        error = ""
        try:
            self._send(kind, settings, text)
        except errors.BasaltError as exc:
            error = str(exc)
            logger.warning("not_delivered id=%d kind=%s why=%s", ident, kind, exc)
        with self._db.write() as tx:
            row = tx.session.get(models.Delivery, ident)
            if row is None:
                return
            row.attempts += 1
            row.error = error
            if not error:
                row.state, row.sent_at = "sent", tx.now
            elif row.attempts > len(RETRY_S):
                row.state, row.next_at = "failed", tx.now
            else:
                row.next_at = tx.now + RETRY_S[row.attempts - 1]

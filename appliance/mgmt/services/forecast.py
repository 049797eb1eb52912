"""How full pools get, over weeks: a sample each ten minutes, and a straight line through them."""

from dataclasses import dataclass

import sqlalchemy
from sqlalchemy import select

from appliance.mgmt.db import database, models
from appliance.mgmt.services import view

EVERY_S = 600.0

_DAY_S = 86400.0
_SPAN_S = 14 * _DAY_S

#: A line through less than this says nothing.
_SHORTEST_S = 3600.0


@dataclass(frozen=True, slots=True)
class Forecast:
    """``days_left``: until full at this pace, None if it does not grow or too little is known."""

    per_day_bytes: float
    days_left: float | None
    span_s: float


class Samples:
    """``run_once`` is called by the loop after each poll; it writes every ``EVERY_S``."""

    def __init__(self, db: database.Database, seen: view.View) -> None:
        self._db = db
        self._view = seen
        self._next = 0.0

    def run_once(self) -> None:
        current = self._view.current
        if current is None or self._view.problem or current.at < self._next:
            return
        rows = [(pool["id"], pool["capacity_bytes"], pool["free_bytes"]) for pool in current.pools]
        whole, free = sum(row[1] for row in rows), sum(row[2] for row in rows)
        with self._db.write() as tx:
            for ident, capacity, left in [("", whole, free), *rows]:
                tx.session.merge(
                    models.Sample(
                        at=current.at,
                        pool_id=ident,
                        used_bytes=capacity - left,
                        capacity_bytes=capacity,
                    )
                )
        self._next = current.at + EVERY_S

    def forecast(self, pool_id: str = "") -> Forecast:
        with self._db.read() as tx:
            query = (
                select(models.Sample.at, models.Sample.used_bytes, models.Sample.capacity_bytes)
                .where(models.Sample.pool_id == pool_id, models.Sample.at > tx.now - _SPAN_S)
                .order_by(models.Sample.at)
            )
            rows = [(at, used, whole) for at, used, whole in tx.session.execute(query)]
        return line(rows)

    def prune(self, before: float) -> None:
        with self._db.write() as tx:
            tx.session.execute(sqlalchemy.delete(models.Sample).where(models.Sample.at < before))


def line(rows: list[tuple[float, int, int]]) -> Forecast:
    """Least squares through (time, used, capacity), oldest first."""
    span_s = rows[-1][0] - rows[0][0] if rows else 0.0
    if span_s < _SHORTEST_S:
        return Forecast(0.0, None, span_s)
    middle_t = sum(row[0] for row in rows) / len(rows)
    middle_u = sum(row[1] for row in rows) / len(rows)
    spread = sum((row[0] - middle_t) ** 2 for row in rows)
    slope = sum((row[0] - middle_t) * (row[1] - middle_u) for row in rows) / spread
    left = rows[-1][2] - rows[-1][1]
    days = left / slope / _DAY_S if slope > 0 else None
    return Forecast(slope * _DAY_S, days, span_s)

"""Which copies run now, and how fast: each pool's policy, applied to all that is syncing in it.

``apply`` is called within the transactions that begin or end copies; ``run_once`` by a loop,
because clients become busy or quiet, and people change policies, at any time.
"""

import logging
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select, update

from appliance.common import errors
from appliance.domain import model, policy
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import context, orders
from appliance.protocol import messages

logger = logging.getLogger(__name__)

#: A client that does so many operations a second is busy.
BUSY_OPERATIONS = 10

#: For this long after its last busy second it still counts as such. Seconds.
BUSY_S = 5.0

Key = tuple[str, str]

_COLUMNS = (
    models.Replica.volume_id,
    models.Replica.column,
    models.Replica.device_id,
    models.Replica.state,
    models.Replica.full_copy,
)


class Policies:
    """One per MDM. ``plugins`` is the newest status of each incarnation, kept by heartbeats."""

    def __init__(self, ctx: context.Context) -> None:
        self._ctx = ctx
        self.plugins: Mapping[str, messages.PluginStatus] = {}
        self._seen: dict[str, tuple[float, int]] = {}
        self._busy_until: dict[str, float] = {}

    def run_once(self) -> None:
        self._measure()
        with self._ctx.uow.read() as tx:
            if not self._changes(tx):
                return
        try:
            with self._ctx.uow.write("mdm") as tx:
                self.apply(tx)
        except errors.Unavailable as exc:
            logger.warning("pace_put_off why=%s", exc)

    def apply(self, tx: unit_of_work.Tx) -> None:
        """Let copies run, wait, or run at another speed, as the policies say now."""
        changes = self._changes(tx)
        for (volume_id, device_id), pace in changes.items():
            tx.session.execute(
                update(models.VolumeLeg)
                .where(
                    models.VolumeLeg.volume_id == volume_id,
                    models.VolumeLeg.device_id == device_id,
                )
                .values(pace=pace)
            )
        for volume_id in sorted({volume_id for volume_id, _ in changes}):
            orders.touch(tx, volume_id)

    def _changes(self, tx: unit_of_work.Tx) -> dict[Key, int]:
        """The legs whose pace has to change, and to what."""
        paces = _paces(tx)
        syncing = select(models.Replica.volume_id).where(models.Replica.state == "syncing")
        copies = _copies(tx, syncing, paces)
        found = {}
        for pool_id, of_pool in copies.items():
            granted = policy.grant(of_pool, self._allowance(tx, pool_id))
            for copy in of_pool:
                pace = granted.get(copy.key, -1)
                if pace != paces.get(copy.key, -1):
                    found[copy.key] = pace
        known = {copy.key for of_pool in copies.values() for copy in of_pool}
        found |= {key: -1 for key in paces if key not in known}
        return found

    def _allowance(self, tx: unit_of_work.Tx, pool_id: str) -> policy.Allowance:
        pool = tx.session.get_one(models.Pool, pool_id)
        return policy.allowance(of(pool), self._busy(tx, pool_id))

    def _busy(self, tx: unit_of_work.Tx, pool_id: str) -> bool:
        """Whether any client does I/O to volumes of the pool."""
        now = self._ctx.clock.monotonic()
        query = (
            select(models.Incarnation.id)
            .join(models.Volume, models.Volume.id == models.Incarnation.volume_id)
            .where(models.Volume.pool_id == pool_id, models.Incarnation.state == "live")
        )
        return any(self._busy_until.get(i, 0.0) > now for i in tx.session.scalars(query))

    def _measure(self) -> None:
        """See from its counters which incarnation is busy."""
        now = self._ctx.clock.monotonic()
        for incarnation, status in list(self.plugins.items()):
            stats = status.stats
            count = stats.reads + stats.writes + stats.trims + stats.flushes
            at, before = self._seen.get(incarnation, (now, count))
            if incarnation in self._seen and now <= at:
                continue
            self._seen[incarnation] = now, count
            if count - before >= BUSY_OPERATIONS * max(1.0, now - at):
                self._busy_until[incarnation] = now + BUSY_S


def of(pool: models.Pool) -> policy.Policy:
    """The pool's policy as the domain sees it."""
    return policy.Policy(
        policy.Mode(pool.rebuild_policy), pool.rebuild_copies, pool.rebuild_bandwidth
    )


def _paces(tx: unit_of_work.Tx) -> dict[Key, int]:
    """Of the legs to which copies may run, how fast they may."""
    leg = models.VolumeLeg
    query = select(leg.volume_id, leg.device_id, leg.pace).where(leg.pace >= 0)
    return {
        (volume_id, device_id): pace for volume_id, device_id, pace in tx.session.execute(query)
    }


def _copies(
    tx: unit_of_work.Tx, volumes: Any, paces: Mapping[Key, int]
) -> dict[str, list[policy.Copy]]:
    """Every copy that there is to do, by pool. Plain rows: there may be many, and often."""
    replica, volume = models.Replica, models.Volume
    query = (
        select(volume.pool_id, *_COLUMNS)
        .join(volume, volume.id == replica.volume_id)
        .where(replica.volume_id.in_(volumes), ~volume.turn_open, volume.state != "deleting")
        .order_by(replica.volume_id, replica.column, replica.slot)
    )
    by_volume: dict[tuple[str, str], list[Any]] = {}
    for row in tx.session.execute(query):
        by_volume.setdefault((row.pool_id, row.volume_id), []).append(row)
    found: dict[str, list[policy.Copy]] = {}
    for (pool_id, volume_id), rows in by_volume.items():
        for target in {row.device_id for row in rows if row.state == "syncing"}:
            key = volume_id, target
            copy = _copy(key, rows, paces.get(key, -1) >= 0)
            if copy is not None:
                found.setdefault(pool_id, []).append(copy)
    return found


def _copy(key: Key, rows: list[Any], running: bool) -> policy.Copy | None:
    """What is copied to one device; None if it has no source, or is perhaps needless."""
    devices, ranks = {key[1]}, []
    own = [r for r in rows if r.device_id == key[1] and r.state == "syncing"]
    if all(r.full_copy and _comes_back(rows, r.column) for r in own):
        return None
    for row in own:
        good = sum(r.column == row.column and r.state == "in_sync" for r in rows)
        if not good:
            return None
        devices.add(orders.source_of(rows, row.column).device_id)
        # What has one copy only goes first, and of that what needs least.
        ranks.append(2 if good >= model.REPLICAS else int(row.full_copy))
    return policy.Copy(key, frozenset(devices), running, min(ranks))


def _comes_back(rows: list[Any], column: int) -> bool:
    """Whether a replica of the column that was away is syncing: its replacement waits, for it
    goes again once that one is in sync."""
    return any(r.column == column and r.state == "syncing" and not r.full_copy for r in rows)

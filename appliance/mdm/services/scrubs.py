"""Scrubs: begun by people or by time, ordered one per device, followed by their reports.

A pass compares both copies of a whole volume (``sds.scrubber``). It goes on from where it was
after a turn, a restart or a pause. An SDS is told of it in ``orders``.
"""

import logging
import secrets
from collections.abc import Iterable
from typing import Any

from sqlalchemy import func, select

from appliance.common import errors
from appliance.domain import scrubbing
from appliance.mdm import shapes
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import context, jobs, orders, proof, refs
from appliance.protocol import messages

logger = logging.getLogger(__name__)

_JOB = "scrub"

#: Passes begun in one round of the loop, so that a round stays short.
_BEGUN_AT_ONCE = 20


# --- by people ----------------------------------------------------------------------------


def act(ctx: context.Context, actor: str, ref: str, action: str) -> shapes.Scrub:
    """``action``: start, pause, resume or stop. Raises errors.NotFound or Conflict."""
    with ctx.uow.write(actor) as tx:
        volume = refs.find(tx, models.Volume, ref)
        row = volume.scrub
        state = row.state if row is not None else "idle"
        allowed = {
            "start": ("idle",),
            "pause": ("queued", "running"),
            "resume": ("paused",),
            "stop": ("queued", "running", "paused"),
        }[action]
        if state not in allowed:
            raise errors.Conflict(why=_why_not(volume.name, action, state))
        if action == "start":
            _check(volume)
            row = _begin(tx, volume)
        assert row is not None, "only an idle scrub may have no row"
        if action == "stop":
            row.state = "idle"
            jobs.finish(tx, _JOB, volume.id, error="stopped")
        elif action != "start":
            row.state = "paused" if action == "pause" else "queued"
        tx.event(f"scrub_{action}", "volume", volume.id, volume.name)
        if state == "running":
            orders.touch(tx, volume.id)
        _advance(tx)
        return view(row, volume)


def list_all(ctx: context.Context) -> list[shapes.Scrub]:
    """Every volume that was ever scrubbed, by name."""
    query = (
        select(models.Scrub, models.Volume)
        .join(models.Volume, models.Volume.id == models.Scrub.volume_id)
        .where(models.Volume.state != "deleting")
        .order_by(models.Volume.name)
    )
    with ctx.uow.read() as tx:
        return [view(row, volume) for row, volume in tx.session.execute(query)]


def view(row: models.Scrub, volume: models.Volume) -> shapes.Scrub:
    size = volume.size
    return {
        "volume": volume.name,
        "volume_id": volume.id,
        "state": row.state,
        "position_bytes": row.position,
        "percent": round(100 * row.position / size, 1) if row.state != "idle" else None,
        "compared_bytes": row.compared_bytes,
        "skipped_regions": row.skipped,
        "mismatches": row.mismatches,
        "repaired": row.repaired,
        "total_mismatches": row.total_mismatches,
        "total_repaired": row.total_repaired,
        "detail": row.detail,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
    }


# --- by time ------------------------------------------------------------------------------


def run_once(ctx: context.Context) -> None:
    """Begin passes that are due, and let queued ones run where their devices are free."""
    with ctx.uow.read() as tx:
        wanted = _due(tx, ctx.clock.wall())
        queued = tx.session.scalars(select(models.Scrub).where(models.Scrub.state == "queued"))
        if not wanted and queued.first() is None:
            return
    with ctx.uow.write("mdm") as tx:
        for ident in wanted:
            volume = tx.session.get(models.Volume, ident)
            if volume is not None and volume.state == "ready" and not proof.trouble(volume):
                _begin(tx, volume)
                tx.event("scrub_start", "volume", volume.id, volume.name)
        _advance(tx)


def _due(tx: unit_of_work.Tx, now: float) -> list[str]:
    pools = {
        pool.id: scrubbing.policy(pool.policy) for pool in tx.session.scalars(select(models.Pool))
    }
    volume, scrub = models.Volume, models.Scrub
    query = (
        select(volume.id, volume.pool_id, volume.created_at, scrub.finished_at, scrub.state)
        .outerjoin(scrub, scrub.volume_id == volume.id)
        .where(volume.state == "ready")
    )
    found = [
        ident
        for ident, pool_id, made_at, scrubbed_at, state in tx.session.execute(query)
        if state in (None, "idle") and pools[pool_id].due(now, made_at, scrubbed_at)
    ]
    return found[:_BEGUN_AT_ONCE]


# --- by reports ---------------------------------------------------------------------------


def reported(tx: unit_of_work.Tx, volume: models.Volume, report: messages.ScrubReport) -> list[str]:
    """Take the progress of a running pass; devices that cannot read their own bytes."""
    row = volume.scrub
    if row is None or row.state != "running" or row.pass_id != report.scrub_id:
        return []
    for finding in report.findings:
        if finding.number > row.told:
            _tell(tx, volume, finding)
            row.told = finding.number
    counts = report.counts
    row.total_mismatches += max(0, counts.mismatches - row.mismatches)
    row.total_repaired += max(0, counts.repaired - row.repaired)
    row.position = max(row.position, report.position)
    row.compared_bytes, row.skipped = counts.compared_bytes, counts.skipped
    row.mismatches, row.repaired = counts.mismatches, counts.repaired
    row.detail = report.error or report.waiting
    jobs.progress(tx, _JOB, volume.id, row.position, row.detail)
    if report.done:
        row.state, row.finished_at, row.detail = "idle", tx.now, ""
        jobs.finish(tx, _JOB, volume.id)
        logger.info("scrubbed volume=%s mismatches=%d", volume.name, row.mismatches)
        orders.touch(tx, volume.id)
        _advance(tx)
    return list(report.failed)


def _tell(tx: unit_of_work.Tx, volume: models.Volume, finding: messages.ScrubFinding) -> None:
    kind = "scrub_repaired" if finding.repaired else "scrub_mismatch"
    facts: dict[str, Any] = {
        "column": finding.column,
        "offset": finding.offset,
        "length": finding.length,
        "device": finding.device_id or None,
        "why": finding.why,
    }
    tx.event(kind, "volume", volume.id, volume.name, **facts)
    logger.error(
        "%s volume=%s column=%d offset=%d device=%s why=%s",
        kind,
        volume.name,
        finding.column,
        finding.offset,
        finding.device_id or "unknown",
        finding.why,
    )


def policy_changed(tx: unit_of_work.Tx, pool: models.Pool) -> None:
    """Passes that go on take the new rate and repair policy; where scrubs are off they end."""
    query = select(models.Volume).where(models.Volume.pool_id == pool.id)
    enabled = scrubbing.policy(pool.policy).enabled
    for volume in tx.session.scalars(query):
        row = volume.scrub
        if row is None or row.state == "idle":
            continue
        if not enabled:
            row.state = "idle"
            jobs.finish(tx, _JOB, volume.id, error="scrubs were switched off for the pool")
        orders.touch(tx, volume.id)


# --- for others ---------------------------------------------------------------------------


def counts(tx: unit_of_work.Tx) -> dict[str, int]:
    """Passes by state, and what all of them ever found."""
    query = select(models.Scrub.state, func.count()).group_by(models.Scrub.state)
    found = dict(tx.session.execute(query).all())
    sums = tx.session.execute(
        select(
            func.coalesce(func.sum(models.Scrub.total_mismatches), 0),
            func.coalesce(func.sum(models.Scrub.total_repaired), 0),
        )
    ).one()
    states = {state: found.get(state, 0) for state in ("queued", "running", "paused")}
    return {**states, "mismatches": int(sums[0]), "repaired": int(sums[1])}


# --- inside -------------------------------------------------------------------------------


def _check(volume: models.Volume) -> None:
    if volume.state != "ready":
        raise errors.Conflict(
            why=f"volume '{volume.name}' is {volume.state}; wait until it is ready"
        )
    if why := proof.trouble(volume):
        raise errors.Conflict(why=f"volume '{volume.name}' cannot be scrubbed now: {why}")


def _begin(tx: unit_of_work.Tx, volume: models.Volume) -> models.Scrub:
    """A new pass, in the queue."""
    row = volume.scrub
    if row is None:
        row = volume.scrub = models.Scrub(total_mismatches=0, total_repaired=0, finished_at=None)
    row.state, row.pass_id, row.position = "queued", secrets.token_hex(8), 0
    row.compared_bytes = row.skipped = row.mismatches = row.repaired = row.told = 0
    row.detail, row.started_at = "", tx.now
    jobs.start(tx, _JOB, "volume", volume.id, volume.name, volume.size)
    tx.session.flush()
    return row


def _advance(tx: unit_of_work.Tx) -> None:
    """Let queued passes run whose devices no other one reads: a device's rate is for all."""
    tx.session.flush()
    queued = list(
        tx.session.scalars(
            select(models.Scrub)
            .where(models.Scrub.state == "queued")
            .order_by(models.Scrub.started_at)
        )
    )
    if not queued:
        return
    running = select(models.Scrub.volume_id).where(models.Scrub.state == "running")
    busy = _devices(tx, tx.session.scalars(running))
    for row in queued:
        devices = _devices(tx, [row.volume_id])
        if devices & busy:
            row.detail = "it waits for another volume's scrub on the same devices"
            continue
        row.state, row.detail = "running", ""
        busy |= devices
        orders.touch(tx, row.volume_id)


def _devices(tx: unit_of_work.Tx, volume_ids: Iterable[str]) -> set[str]:
    query = select(models.Replica.device_id).where(models.Replica.volume_id.in_(list(volume_ids)))
    return set(tx.session.scalars(query.distinct()))


def _why_not(name: str, action: str, state: str) -> str:
    if action == "start":
        return f"volume '{name}' is being scrubbed already ({state}); basalt scrub status"
    if action == "resume":
        return f"the scrub of volume '{name}' is not paused but {state}"
    return f"volume '{name}' is not being scrubbed" if state == "idle" else f"it is {state} already"

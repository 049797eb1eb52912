"""Numbers about the whole cluster, read once, for status, health and metrics alike."""

import collections
import shutil
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from appliance.domain import health
from appliance.mdm import cluster_shapes
from appliance.mdm.db import engine, models, unit_of_work
from appliance.mdm.services import (
    backup,
    capacity,
    cluster,
    context,
    events,
    jobs,
    peers,
    reach,
    scrubs,
    volume_views,
)

#: States of a device that hold only while its SDS answers.
_SAID_TO_WORK = ("ok", "adding", "removing")

_SILENT = ("unreachable", "unknown")


@dataclass(frozen=True, slots=True)
class Figures:
    """``roles`` are by role, ``devices`` by state, ``volumes`` by health. ``hurt``: health, name
    and reason of each volume that is not healthy.

    A device whose SDS does not answer is ``unreachable``, one whose SDS was not heard yet
    ``unknown``, whatever was last said of it; ``silent`` are these SDSs, by name."""

    cluster_id: str
    term: int
    revision: int
    counts: dict[str, int]
    roles: dict[str, cluster_shapes.RoleCount]
    devices: dict[str, int]
    silent: dict[str, health.Reach]
    volumes: dict[str, int]
    hurt: list[tuple[health.Health, str, str]]
    capacity: cluster_shapes.Capacity
    jobs_running: int
    scrubs: dict[str, int]
    events: int
    database_bytes: int
    disk_free_bytes: int
    disk_total_bytes: int
    newest_backup_at: float | None
    created_at: float
    uptime_s: float


def read(ctx: context.Context) -> Figures:
    """Blocks for one read transaction."""
    disk = shutil.disk_usage(ctx.config.data_dir)
    with ctx.uow.read() as tx:
        row = tx.session.get_one(models.Cluster, 1)
        states = volume_views.states(ctx, tx)
        words = [state[0] for state in states]
        places = list(reach.places(ctx, tx).values())
        return Figures(
            cluster_id=row.id,
            term=row.term,
            revision=row.revision,
            counts=cluster.counts(tx),
            roles=roles(ctx, tx),
            devices=dict(collections.Counter(_device_state(place) for place in places)),
            silent={
                place.sds_name: place.reach for place in places if _device_state(place) in _SILENT
            },
            volumes={word.value: words.count(word) for word in health.Health},
            hurt=[state for state in states if state[0] is not health.Health.HEALTHY],
            capacity=capacity.total(list(capacity.pools(tx).values())),
            jobs_running=jobs.count_running(tx),
            scrubs=scrubs.counts(tx),
            events=events.count(tx),
            database_bytes=database_bytes(ctx.database_url),
            disk_free_bytes=disk.free,
            disk_total_bytes=disk.total,
            newest_backup_at=backup.newest_at(ctx),
            created_at=row.created_at,
            uptime_s=round(ctx.clock.monotonic() - ctx.started, 3),
        )


def _device_state(place: reach.Place) -> str:
    if place.state in _SAID_TO_WORK and place.reach is health.Reach.DOWN:
        return "unreachable"
    if place.state in _SAID_TO_WORK and place.reach is health.Reach.UNKNOWN:
        return "unknown"
    return place.state


def roles(ctx: context.Context, tx: unit_of_work.Tx) -> dict[str, cluster_shapes.RoleCount]:
    """How many of each role answer."""
    found: dict[str, cluster_shapes.RoleCount] = {
        "mdm": {"total": 1, "up": 1, "down": 0, "unknown": 0},
    }
    for role, ids in (("sds", select(models.Sds.id)), ("sdc", select(models.Sdc.id))):
        states = [reach.agent(ctx, ident)[0] for ident in tx.session.scalars(ids)]
        found[role] = {
            "total": len(states),
            "up": states.count(health.Reach.UP),
            "down": states.count(health.Reach.DOWN),
            "unknown": states.count(health.Reach.UNKNOWN),
        }
    return found


def database_bytes(url: str) -> int:
    """Size of the database's files; 0 if it is not in files here."""
    path = engine.sqlite_path(url)
    if path is None:
        return 0
    files = (path, Path(f"{path}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def health_metrics(found: Figures, asked: list[peers.Peer]) -> cluster_shapes.HealthMetrics:
    """``asked``: the agents, as their control ports answered."""
    reports = [report for peer in asked if peer.check for report in peer.check.report()]
    word = summary(found).value
    return {
        "health_summary": word,
        "overall_status": word,
        "check_count": sum(report["check_count"] for report in reports),
        "heal_attempts": sum(report["heal_attempts"] for report in reports),
        "given_up": [
            {"part": part, "attempts": attempts, "why": why}
            for peer in asked
            if peer.check
            for part, (attempts, why) in sorted(peer.check.given_up().items())
        ],
        "failed_calls": sum(peer.breaker.figures().failed_calls for peer in asked),
        "uptime_s": found.uptime_s,
        "roles": found.roles,
        "devices": found.devices,
        "volumes": found.volumes,
        "jobs_running": found.jobs_running,
        "database_bytes": found.database_bytes,
        "disk_free_bytes": found.disk_free_bytes,
        "disk_total_bytes": found.disk_total_bytes,
        "newest_backup_at": found.newest_backup_at,
        "created_at": found.created_at,
        "events": found.events,
    }


def cluster_metrics(found: Figures, now: float) -> cluster_shapes.ClusterMetrics:
    return {
        "at": now,
        "cluster_id": found.cluster_id,
        "capacity": found.capacity,
        "roles": found.roles,
        "devices": found.devices,
        "volumes": found.volumes,
        "mappings": found.counts["mappings"],
        "jobs_running": found.jobs_running,
        "events": found.events,
        "database_bytes": found.database_bytes,
    }


def summary(found: Figures) -> health.Health:
    """One word for the cluster: its gravest volume; a part that is away degrades it."""
    states = [word for word in health.Health if found.volumes[word.value]]
    if any(role["down"] for role in found.roles.values()):
        states.append(health.Health.DEGRADED)
    if any(found.devices.get(state) for state in ("failed", "missing", "refused")):
        states.append(health.Health.DEGRADED)
    if any(role["unknown"] for role in found.roles.values()):
        states.append(health.Health.UNKNOWN)
    return health.worst(states)

"""What is measured of storage, from one snapshot of the MDM: a function per rule or family.

A component that is well need not be named: no reading means well.
"""

from collections.abc import Iterator
from typing import Any

from appliance.common import units
from appliance.mgmt.alerts import engine, progress
from appliance.mgmt.services import view

Reading = engine.Reading
Object = dict[str, Any]


def readings(seen: view.Snapshot, moves: progress.Progress, now: float) -> Iterator[Reading]:
    """All of them. ``now`` is monotonic; ``moves`` has been told of this snapshot."""
    yield from _agents(seen)
    for volume in seen.details.values():
        yield from _copies(seen, volume)
    yield from _rebuilds(seen, moves, now)
    yield from _waiting(seen, moves, now)
    yield from _pools(seen)
    yield from _devices(seen)
    yield from _mdm(seen)
    for event in seen.mismatches:
        where = ", ".join(f"{key} {value}" for key, value in event["detail"].items())
        text = f"Copies of {event['subject']} differ: {where or 'see the event'}"
        yield Reading(
            "scrub_mismatch", event["subject_kind"], event["subject_id"], event["subject"], 1.0,
            text, {"seq": event["seq"], "at": event["at"]},
        )  # fmt: skip


def given_up(seen: view.Snapshot) -> dict[str, tuple[int, str]]:
    """Parts that the MDM could not heal: attempts and the last error, by name."""
    of = seen.figures.get("given_up", ())  # an MDM of the release before does not tell
    return {one["part"]: (one["attempts"], one["why"]) for one in of}


def _agents(seen: view.Snapshot) -> Iterator[Reading]:
    for kind, rule, of in (
        ("sds", "sds_down", seen.sds),
        ("sdc", "client_disconnected", seen.sdcs),
    ):
        for one in of:
            name, skew_s = one["name"], one.get("clock_skew_s")
            if one["health"] == "unhealthy":
                what = "Storage server" if kind == "sds" else "Client"
                why = one.get("reason") or "it does not answer"
                yield Reading(rule, kind, one["id"], name, 1.0, f"{what} {name} is down: {why}")
            if skew_s is not None:
                text = f"The clock of {name} is {abs(skew_s):.1f} s "
                text += "ahead of the MDM's" if skew_s > 0 else "behind the MDM's"
                yield Reading("clock_skew", kind, one["id"], name, abs(skew_s), text)


def _copies(seen: view.Snapshot, volume: Object) -> Iterator[Reading]:
    """A replica is of use if it is in sync and its server answers."""
    down = {one["name"] for one in seen.sds if one["health"] == "unhealthy"}
    usable: dict[int, int] = {}
    where: dict[int, set[str]] = {}
    stale: set[str] = set()
    for replica in volume["replicas"]:
        column = replica["column"]
        good = replica["state"] == "in_sync" and replica["sds"] not in down
        usable[column] = usable.get(column, 0) + good
        if not good:
            where.setdefault(column, set()).add(replica["sds"])
        if replica["state"] == "stale":
            stale.add(replica["sds"])
    name, ident = volume["name"], volume["id"]
    for rule, words, columns in (
        ("column_unavailable", "no readable copy of", [c for c, n in usable.items() if n == 0]),
        ("column_one_copy", "one good copy of", [c for c, n in usable.items() if n == 1]),
    ):
        if columns:
            servers = ", ".join(sorted(set().union(*(where[c] for c in columns))))
            count = f"{len(columns)} of {len(usable)} columns"
            text = f"Volume {name} has {words} {count}; missing: {servers}"
            details = {"columns": sorted(columns), "servers": servers}
            yield Reading(rule, "volume", ident, name, len(columns), text, details)
    behind = sum(1 for replica in volume["replicas"] if replica["state"] == "stale")
    if behind:
        text = f"Volume {name} has {behind} copies that missed writes, on "
        text += ", ".join(sorted(stale))
        yield Reading("replica_stale", "volume", ident, name, behind, text)


def _rebuilds(seen: view.Snapshot, moves: progress.Progress, now: float) -> Iterator[Reading]:
    for job in seen.jobs:
        if not job["total_bytes"]:
            continue
        name, standing_s = job["subject"], moves.standing_s(job["id"], now)
        done = f"{units.format_size(job['done_bytes'])} of {units.format_size(job['total_bytes'])}"
        why = f": {job['detail']}" if job["detail"] else ""
        text = f"The {job['kind']} of {name} stands still since {standing_s:.0f} s at {done}{why}"
        yield Reading("rebuild_stuck", "volume", job["subject_id"], name, standing_s, text)
        left_s = moves.left_s(job)
        if left_s is not None:
            text = f"The {job['kind']} of {name} takes {left_s / 3600:.1f} h more, {done} done"
            yield Reading("rebuild_slow", "volume", job["subject_id"], name, left_s, text)


def _waiting(seen: view.Snapshot, moves: progress.Progress, now: float) -> Iterator[Reading]:
    for one in seen.statistics:
        waited_s = moves.waiting_s(one["mapping_id"], now)
        if waited_s:
            text = f"I/O of volume {one['volume']} at {one['sdc']} waits since {waited_s:.0f} s: "
            yield Reading(
                "volume_io_waiting", "volume", one["volume_id"], one["volume"], waited_s,
                text + one["waiting"], {"sdc": one["sdc"]},
            )  # fmt: skip


def _pools(seen: view.Snapshot) -> Iterator[Reading]:
    for pool in seen.pools:
        whole, free = pool["capacity_bytes"], pool["free_bytes"]
        if not whole:
            continue
        used = 100.0 * (whole - free) / whole
        text = (
            f"Pool {pool['name']} is {used:.0f} % full: {units.format_size(free)} of "
            f"{units.format_size(whole)} are free"
        )
        yield Reading("pool_used_warning", "pool", pool["id"], pool["name"], used, text)
        yield Reading("pool_used_critical", "pool", pool["id"], pool["name"], used, text)


def _devices(seen: view.Snapshot) -> Iterator[Reading]:
    for device in seen.devices:
        name = f"{device['sds']}:{device['path']}"
        if device["state"] in ("failed", "missing", "refused"):
            text = f"Device {name} is {device['state']}: {device['reason']}"
            yield Reading("device_failed", "device", device["id"], name, 1.0, text)
        sync_s = device.get("sync_s") or 0.0
        if sync_s:
            text = f"A small write to device {name} took {sync_s:.2f} s to become durable"
            yield Reading("device_slow", "device", device["id"], name, sync_s, text)


def _mdm(seen: view.Snapshot) -> Iterator[Reading]:
    figures = seen.figures
    size = figures["database_bytes"]
    text = f"The MDM's database is {units.format_size(size)} large"
    yield Reading("mdm_database_large", "mdm", "mdm", "MDM", size, text)
    whole, free = figures["disk_total_bytes"], figures["disk_free_bytes"]
    if whole:
        used = 100.0 * (whole - free) / whole
        text = f"The disk of the MDM's database is {used:.0f} % full: "
        text += f"{units.format_size(free)} are free"
        yield Reading("mdm_disk_filling", "mdm", "mdm", "MDM", used, text)
    newest = figures["newest_backup_at"]
    hours = (seen.at - (newest or figures["created_at"])) / 3600
    text = (
        f"The newest backup of the MDM's database is {hours:.0f} h old"
        if newest
        else f"The MDM's database has had no backup for {hours:.0f} h, since the cluster was made"
    )
    yield Reading("mdm_backup_old", "mdm", "mdm", "MDM", hours, text)

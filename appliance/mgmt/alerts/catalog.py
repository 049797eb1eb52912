"""The rules there are: their defaults, what each means, and what to do about it.

Thresholds and times are in the database from the first start on; words are here. What is
measured for each is in ``measures`` and ``own_measures``.
"""

from dataclasses import dataclass

from appliance.common import units
from appliance.mgmt.alerts import engine

INFO, WARNING, ERROR, CRITICAL = "info", "warning", "error", "critical"

#: In rising order.
SEVERITIES = (INFO, WARNING, ERROR, CRITICAL)


@dataclass(frozen=True, slots=True)
class Entry:
    """``unit``: of value and threshold. ``storage``: measured through the MDM, so not while it
    does not answer. ``by_hand``: cleared by a person only. ``clear``: None is the threshold."""

    id: str
    title: str
    severity: str
    unit: str
    threshold: float
    meaning: str
    what_to_do: str
    clear: float | None = None
    hold_s: float = 0.0
    clear_hold_s: float = 5.0
    below: bool = False
    storage: bool = True
    by_hand: bool = False

    def rule(self) -> engine.Rule:
        """With the defaults."""
        return engine.Rule(
            id=self.id,
            severity=self.severity,
            threshold=self.threshold,
            clear_threshold=self.threshold if self.clear is None else self.clear,
            hold_s=self.hold_s,
            clear_hold_s=self.clear_hold_s,
            below=self.below,
        )


_ALL = (
    Entry(
        "sds_down", "Storage server down", ERROR, "servers", 1,
        "A storage server does not answer. Each byte it holds has a second copy elsewhere, which "
        "is used; a second failure could stop I/O.",
        "See whether its host runs; start basalt-sds there, or read its log "
        "(journalctl -u basalt-sds). Its copies catch up by themselves.",
        clear_hold_s=3,
    ),
    Entry(
        "client_disconnected", "Client disconnected", WARNING, "clients", 1,
        "A client host does not answer the MDM. Its mounted volumes may go on working, but they "
        "cannot follow a change until it answers.",
        "See whether the host runs and reaches the MDM; start basalt-sdc there.",
        hold_s=3,
    ),
    Entry(
        "column_unavailable", "Data unavailable", CRITICAL, "columns", 1,
        "Part of a volume has no readable copy now. Its I/O waits, and fails once its limit has "
        "passed.",
        "Bring back one of the storage servers named, with its devices, before all else.",
        hold_s=1,
    ),
    Entry(
        "column_one_copy", "One copy only", WARNING, "columns", 1,
        "Part of a volume has one good copy. Nothing is lost; one more failure there stops I/O.",
        "Bring back the server named. If a rebuild runs, wait for its end.",
        hold_s=2, clear_hold_s=3,
    ),
    Entry(
        "replica_stale", "Copy out of date", WARNING, "copies", 1,
        "A copy missed writes and is neither read nor written until it has caught up.",
        "It rejoins by itself once its server and device are well.",
        hold_s=15, clear_hold_s=3,
    ),
    Entry(
        "rebuild_stuck", "Rebuild stuck", ERROR, "s", 60,
        "A rebuild has made no progress for a while; until it ends there is one good copy.",
        "Look at the job's reason: a client that does not answer, or a device that is full, "
        "holds it up.",
        hold_s=0,
    ),
    Entry(
        "rebuild_slow", "Rebuild slow", WARNING, "s", 6 * 3600, "A rebuild at its present pace "
        "takes long; until it ends there is one good copy.",
        "See whether the disks or the network are busy, or whether its bandwidth is limited.",
        clear=5 * 3600, hold_s=60, clear_hold_s=30,
    ),
    Entry(
        "pool_used_warning", "Pool filling", WARNING, "%", 80,
        "A pool is filling up. At 100 % writes to thin volumes fail with ENOSPC.",
        "Add devices to the pool, or delete volumes; the forecast is on the dashboard.",
        clear=78, hold_s=5,
    ),
    Entry(
        "pool_used_critical", "Pool nearly full", CRITICAL, "%", 90,
        "A pool is nearly full. At 100 % writes to thin volumes fail with ENOSPC.",
        "Add devices to the pool now, or delete volumes.",
        clear=88, hold_s=5,
    ),
    Entry(
        "device_failed", "Device failed", ERROR, "devices", 1,
        "A device failed, is missing or was refused. Its copies are not used.",
        "Replace the disk; remove the device (basalt device remove) and add the new one.",
    ),
    Entry(
        "device_slow", "Device slow", WARNING, "s", 1.0,
        "A small write took long to become durable on a device; everything on it waits as long.",
        "Look at the disk (smartctl, iostat -x) and at what else uses it.",
        clear=0.5, hold_s=10, clear_hold_s=30,
    ),
    Entry(
        "scrub_mismatch", "Copies differ", CRITICAL, "places", 1,
        "A scrub found two copies of the same place that differ.",
        "Read the event and the report of the scrub before anything is repaired; then resolve "
        "this alert by hand.",
        by_hand=True,
    ),
    Entry(
        "mdm_backup_old", "No recent backup", WARNING, "h", 48,
        "The newest backup of the MDM's database is old. Without it a lost MDM disk is hard to "
        "come back from.",
        "Make one (basalt mdm backup) and copy it to another host; do so every day.",
        clear_hold_s=0,
    ),
    Entry(
        "mdm_database_large", "MDM database large", WARNING, "bytes", 2 * units.GIB,
        "The MDM's database has grown large; starts and backups take longer.",
        "Keep events for less time (event_keep_days).",
        clear=1.8 * units.GIB, hold_s=60,
    ),
    Entry(
        "mdm_disk_filling", "MDM disk filling", ERROR, "%", 90,
        "The disk of the MDM's database is filling up. When it is full nothing can be changed, "
        "not even a failed copy be noted; volumes then wait.",
        "Free space on the MDM's host, or enlarge that file system.",
        clear=88, hold_s=5,
    ),
    Entry(
        "certificate_expiring", "Certificate expiring", WARNING, "days", 30,
        "A certificate ends soon; connections that use it are refused then.",
        "Renew it and restart what uses it.",
        below=True, storage=False,
    ),
    Entry(
        "clock_skew", "Clocks differ", WARNING, "s", 2.0,
        "The clock of a host differs from the MDM's. Data is not concerned (nothing is decided "
        "by wall time), but logs and certificates are.",
        "Let chrony or systemd-timesyncd run on both hosts.",
        clear=1.0, hold_s=10, clear_hold_s=10,
    ),
    Entry(
        "volume_io_waiting", "I/O waits", CRITICAL, "s", 3.0,
        "I/O of a volume waits and has not been answered.",
        "Do what the reason says; usually a storage server or the MDM has to come back.",
        clear_hold_s=2,
    ),
    Entry(
        "mdm_unreachable", "MDM does not answer", ERROR, "s", 5.0,
        "MGMT cannot reach the MDM, so this page shows how things were. I/O goes on; changes and "
        "failures during this time have to wait.",
        "See whether the MDM's host runs; start basalt-mdm there, or read its log.",
        clear_hold_s=2, storage=False,
    ),
    Entry(
        "heal_failed", "Self-healing gave up", ERROR, "attempts", 1,
        "A part could not be healed by itself within its limit, and is left alone now.",
        "Read the reason and MGMT's log; then restart what is named.",
        storage=False,
    ),
    Entry(
        "delivery_failed", "Alerts not delivered", WARNING, "messages", 1,
        "Messages about alerts could not be delivered, so somebody may not know.",
        "Look at the channel's last error and use its test button.",
        storage=False,
    ),
)  # fmt: skip

BY_ID = {entry.id: entry for entry in _ALL}

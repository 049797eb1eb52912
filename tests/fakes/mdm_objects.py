"""A small cluster as the MDM's REST API shows it: three SDSs, one of them dead, and two volumes."""

from typing import Any

_AT = 1_700_000_000.0
_GIB = 1024**3


def _id(number: int) -> str:
    return f"{number:016x}"


def _device(number: int, sds: int) -> dict[str, Any]:
    return {
        "id": _id(0xD0 + number),
        "sds": f"sds{sds}",
        "sds_id": _id(0x50 + sds),
        "pool": "default",
        "pool_id": _id(0xB0),
        "path": f"/srv/basalt/disk{number}",
        "media": "ssd",
        "state": "ok",
        "reason": "",
        "reach": "down" if sds == 2 else "up",
        "draining": False,
        "limit_bytes": 0,
        "capacity_bytes": 100 * _GIB,
        "free_bytes": 90 * _GIB,
        "created_at": _AT,
    }


def _sds(number: int, health: str = "healthy", reason: str = "") -> dict[str, Any]:
    return {
        "id": _id(0x50 + number),
        "name": f"sds{number}",
        "domain": "default",
        "domain_id": _id(0xA0),
        "fault_set": f"fs{number}",
        "fault_set_id": _id(0xF0 + number),
        "state": "normal",
        "health": health,
        "reason": reason,
        "hosts": ["192.0.2.1"],
        "control_port": 7072,
        "last_seen_s": 0.4,
        "clock_skew_s": 0.0,
        "devices": [_device(number, number)],
        "version": "0.1.0",
        "created_at": _AT,
    }


def mapping(volume: dict[str, Any], sdc: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """A mapping just asked for."""
    return {
        "id": _id(0xE0 + len(volume["mappings"])),
        "volume": volume["name"],
        "volume_id": volume["id"],
        "sdc": sdc["name"],
        "sdc_id": sdc["id"],
        "read_only": body.get("read_only", False),
        "backend": body.get("backend", "auto"),
        "used_backend": "",
        "backend_reason": "",
        "state": "attaching",
        "device": "",
        "device_size_bytes": 0,
        "link": "",
        "uri": "",
        "error": "",
        "created_at": _AT,
    }


def attached(asked: dict[str, Any]) -> dict[str, Any]:
    """What ``asked`` is once its SDC has done it."""
    only_socket = asked["backend"] == "none"
    return {
        "state": "attached",
        "device": "" if only_socket else "/dev/loop7",
        "device_size_bytes": 0 if only_socket else 8 * _GIB,
        "link": "" if only_socket else f"/dev/basalt/{asked['volume']}",
        "uri": f"nbd+unix:///?socket=/run/basalt/sdc/{asked['id']}/nbd.sock",
        "used_backend": "none" if only_socket else "fuse",
        "backend_reason": "asked for" if only_socket else "this kernel has no nbd module",
    }


_VOLUME: dict[str, Any] = {
    "id": _id(0x70),
    "name": "data",
    "size_bytes": 8 * _GIB,
    "thin": True,
    "shareable": False,
    "pool": "default",
    "pool_id": _id(0xB0),
    "state": "ready",
    "health": "degraded",
    "reason": "sds2 is down: columns 0 and 1 have one readable copy",
    "columns": 3,
    "generation": 4,
    "map_version": 9,
    "turn_open": False,
    "used_bytes": 3 * _GIB,
    "mappings": [],
    "created_at": _AT,
    "wait_limit_s": 60.0,
    "replicas": [
        {
            "column": column,
            "slot": slot,
            "device_id": _id(0xD0 + sds),
            "device_path": f"/srv/basalt/disk{sds}",
            "sds": f"sds{sds}",
            "state": "stale" if sds == 2 else "in_sync",
            "error": "",
        }
        for column, pair in enumerate([(1, 2), (2, 3), (3, 1)])
        for slot, sds in enumerate(pair)
    ],
}

_SCRUB: dict[str, Any] = {
    "volume": "data",
    "volume_id": _VOLUME["id"],
    "state": "running",
    "position_bytes": 2 * _GIB,
    "percent": 25.0,
    "compared_bytes": 2 * _GIB,
    "skipped_regions": 3,
    "mismatches": 1,
    "repaired": 1,
    "total_mismatches": 2,
    "total_repaired": 1,
    "detail": "",
    "started_at": _AT,
    "finished_at": _AT - 30 * 86400,
}
_VOLUME["scrub"] = _SCRUB

_JOB: dict[str, Any] = {
    "id": _id(0x10),
    "kind": "resync",
    "subject_kind": "volume",
    "subject_id": _VOLUME["id"],
    "subject": "data",
    "state": "running",
    "done_bytes": 43 * _GIB,
    "total_bytes": 100 * _GIB,
    "percent": 43.0,
    "rate_bytes_s": _GIB,
    "left_s": 57.0,
    "detail": "",
    "request_id": "4f2a",
    "started_at": _AT,
    "updated_at": _AT,
    "finished_at": None,
}

_EVENT: dict[str, Any] = {
    "at": _AT,
    "who": "admin",
    "request_id": "4f2a",
    "subject_kind": "volume",
    "subject_id": _VOLUME["id"],
    "subject": "data",
    "detail": {"size_bytes": 8 * _GIB},
}

_POOL: dict[str, Any] = {
    "id": _id(0xB0),
    "name": "default",
    "domain": "default",
    "domain_id": _id(0xA0),
    "media": "ssd",
    "spare_percent": 0,
    "warn_percent": 80,
    "critical_percent": 90,
    "rebuild_policy": "favour_application",
    "rebuild_copies": 0,
    "rebuild_bandwidth": 0,
    "rebalance": True,
    "scrub": {"enabled": True, "rate": 3 * 1024**2, "repair": True, "interval_days": 30},
    "capacity_bytes": 300 * _GIB,
    "used_bytes": 30 * _GIB,
    "provisioned_bytes": 16 * _GIB,
    "reserved_bytes": 0,
    "free_bytes": 270 * _GIB,
    "devices": 3,
    "volumes": 2,
    "created_at": _AT,
}

_SDC: dict[str, Any] = {
    "id": _id(0xC1),
    "name": "sdc1",
    "approved": True,
    "health": "healthy",
    "reason": "",
    "hosts": ["192.0.2.9"],
    "control_port": 7073,
    "last_seen_s": 0.2,
    "clock_skew_s": 0.0,
    "volumes": [],
    "version": "0.1.0",
    "created_at": _AT,
}

_DOMAIN = {"id": _id(0xA0), "name": "default", "rebuild_delay_s": 600.0, "created_at": _AT}
_FAULT_SET = {"id": _id(0xF1), "name": "fs1", "domain": "default", "domain_id": _id(0xA0)}
_TOKEN = {"id": _id(0x20), "name": "admin", "role": "administrator", "created_at": _AT}
_BACKUP = {"path": "/var/lib/basalt/mdm/backups/a.db", "size_bytes": 98304, "created_at": _AT}

OBJECTS: dict[str, list[dict[str, Any]]] = {
    "domains": [_DOMAIN],
    "fault-sets": [
        {**_FAULT_SET, "id": _id(0xF0 + number), "name": f"fs{number}"} for number in (1, 2, 3)
    ],
    "pools": [_POOL],
    "sds": [
        _sds(1),
        _sds(2, "unhealthy", "not heard from for 14 s: is its host up?") | {"last_seen_s": 14.0},
        _sds(3),
    ],
    "devices": [_device(number, number) for number in (1, 2, 3)],
    "sdcs": [_SDC],
    "volumes": [
        _VOLUME,
        {**_VOLUME, "id": _id(0x71), "name": "idle", "health": "healthy", "reason": ""},
    ],
    "scrubs": [_SCRUB],
    "jobs": [_JOB, {**_JOB, "id": _id(0x11), "state": "done", "finished_at": _AT + 9}],
    "events": [
        {**_EVENT, "seq": number, "kind": kind}
        for number, kind in enumerate(
            ["volume.created", "volume.renamed", "sds.down", "volume.created", "volume.grown"], 1
        )
    ],
    "tokens": [_TOKEN],
    "backups": [_BACKUP],
}

#: What a new object of a collection has besides what was asked for.
DEFAULTS: dict[str, dict[str, Any]] = {
    "domains": _DOMAIN,
    "fault-sets": _FAULT_SET,
    "pools": _POOL,
    "devices": {**_device(9, 1), "state": "adding"},
    "volumes": {
        **_VOLUME,
        "health": "healthy",
        "reason": "",
        "mappings": [],
        "used_bytes": 0,
        "scrub": None,
    },
    "tokens": _TOKEN,
    "backups": _BACKUP,
}

#: Of a volume whose first column can go on with a loss only.
RECOVERY: dict[str, Any] = {
    "volume": "data",
    "volume_id": _id(0x10),
    "blocked": True,
    "possible": True,
    "columns": [0],
    "keep": ["sds2:/srv/basalt/disk2"],
    "bring_back": ["sds1:/srv/basalt/disk1"],
    "explanation": "volume 'data' waits for sds1:/srv/basalt/disk1",
}

STATUS: dict[str, Any] = {
    "health": "degraded",
    "summary": "The cluster is degraded: 2 of 3 SDSs answer, 1 of 2 volumes are healthy.",
    "reasons": ["SDS sds2 is down: not heard from for 14 s"],
    "cluster": "basalt",
    "version": "0.1.0",
    "roles": {
        "mdm": {"total": 1, "up": 1, "down": 0, "unknown": 0},
        "sds": {"total": 3, "up": 2, "down": 1, "unknown": 0},
        "sdc": {"total": 1, "up": 1, "down": 0, "unknown": 0},
    },
    "devices": {"ok": 2, "unreachable": 1},
    "devices_reason": "sds2 is down",
    "capacity": {
        "capacity_bytes": 300 * _GIB,
        "used_bytes": 30 * _GIB,
        "provisioned_bytes": 32 * _GIB,
        "reserved_bytes": 0,
        "free_bytes": 270 * _GIB,
    },
    "volumes": {"healthy": 1, "degraded": 1, "unhealthy": 0, "unknown": 0},
    "jobs": [_JOB],
    "problems": [
        {
            "severity": "warning",
            "component": "sds/sds2",
            "message": "SDS sds2 is down: not heard from for 14 s",
            "what_to_do": "start basalt-sds on its host, or see its log",
        }
    ],
}

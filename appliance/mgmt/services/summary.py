"""How everything is, from the newest snapshot: for the dashboard and ``/health/api``."""

from typing import Any

from appliance.domain import health
from appliance.mgmt.alerts import store
from appliance.mgmt.services import context

_EMPTY = {"total": 0, "up": 0, "down": 0, "unknown": 0}


def summary(ctx: context.Context) -> dict[str, Any]:
    """``health_summary``, ``health_metrics``, ``alert_counts``."""
    word, sentence = verdict(ctx)
    current = ctx.view.current
    point = ctx.history.newest()
    parts = ctx.checks.report()
    figures = ctx.mdm.breaker.figures()
    return {
        "health_summary": {
            "overall_status": word.value,
            "sentence": sentence,
            "cluster": current.status["cluster"] if current else None,
            "snapshot_at": current.at if current else None,
            "problem": ctx.view.problem,
        },
        "health_metrics": {
            "check_count": ctx.checks.check_count,
            "failed_calls": figures.failed_calls,
            "heal_attempts": sum(part["heal_attempts"] for part in parts),
            "mdm_p50_s": figures.p50_s,
            "mdm_p95_s": figures.p95_s,
            "mdm_p99_s": figures.p99_s,
            "roles": current.status["roles"] if current else {},
            "devices": current.status["devices"] if current else {},
            "volumes": current.status["volumes"] if current else {},
            "capacity": current.status["capacity"] if current else None,
            "jobs_running": len(current.jobs) if current else 0,
            "read_iops": point.read_iops if point else 0.0,
            "write_iops": point.write_iops if point else 0.0,
            "read_bps": point.read_bps if point else 0.0,
            "write_bps": point.write_bps if point else 0.0,
            "p50_s": point.p50_s if point else None,
            "p95_s": point.p95_s if point else None,
            "p99_s": point.p99_s if point else None,
        },
        "alert_counts": store.counts(ctx.db),
        "parts": parts,
        "breakers": [breaker(ctx)],
    }


def verdict(ctx: context.Context) -> tuple[health.Health, str]:
    """One word and one sentence about the cluster as MGMT knows it."""
    current = ctx.view.current
    if current is None:
        return health.Health.UNKNOWN, f"Nothing is known yet: {ctx.view.problem}"
    if ctx.view.problem:
        ago_s = ctx.clock.wall() - current.at
        return (
            health.Health.UNKNOWN,
            f"The MDM does not answer ({ctx.view.problem}). What you see is {ago_s:.0f} s old; "
            "I/O goes on without it.",
        )
    return health.Health(current.status["health"]), str(current.status["summary"])


def components(ctx: context.Context) -> list[dict[str, Any]]:
    """Every process of the cluster, MGMT included; of the MDM's word while it answers."""
    stale = ctx.view.problem
    current = ctx.view.current
    found = [_mgmt(ctx), _mdm(ctx)]
    if current is not None:
        for kind, of in (("sds", current.sds), ("sdc", current.sdcs)):
            for one in of:
                found.append(
                    {
                        "address": one["hosts"][0] if one["hosts"] else "",
                        "component_id": one["id"],
                        "component_type": kind,
                        "name": one["name"],
                        "control_port": one["control_port"],
                        "data_port": 0,
                        "state": "unknown" if stale else one["health"],
                        "reason": f"the MDM does not answer: {stale}" if stale else one["reason"],
                    }
                )
    return found


def breaker(ctx: context.Context) -> dict[str, Any]:
    found = ctx.mdm.breaker.figures()
    return {name: getattr(found, name) for name in found.__slots__}


def _mgmt(ctx: context.Context) -> dict[str, Any]:
    bad = [part for part in ctx.checks.report() if part["state"] not in ("healthy",)]
    own = [part for part in bad if part["part"] != "mdm"]
    word = health.worst(health.Health(part["state"]) for part in own)
    return {
        "address": ctx.config.host,
        "component_id": "mgmt",
        "component_type": "mgmt",
        "name": "mgmt",
        "control_port": ctx.port(),
        "data_port": 0,
        "state": word.value,
        "reason": "; ".join(f"{part['part']}: {part['reason']}" for part in own),
    }


def _mdm(ctx: context.Context) -> dict[str, Any]:
    address = ctx.config.mdm[0].rpartition("//")[2]
    host, _, port = address.rpartition(":")
    state = ctx.mdm.breaker.state
    why = ctx.view.problem
    return {
        "address": host or address,
        "component_id": "mdm",
        "component_type": "mdm",
        "name": "mdm",
        "control_port": int(port) if port.isdigit() else 0,
        "data_port": 0,
        "state": "unhealthy" if why else "healthy",
        "reason": why,
        "breaker": state,
    }

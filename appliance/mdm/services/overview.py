"""``basalt status``: how the cluster is in one sentence, and each problem with what to do."""

from appliance.common import release, units
from appliance.domain import health
from appliance.mdm import bodies, cluster_shapes
from appliance.mdm.db import unit_of_work
from appliance.mdm.services import (
    capacity,
    context,
    figures,
    jobs,
    pools,
    proof,
    sdcs,
    sds,
    volume_views,
)

_SEVERITY = {
    health.Health.UNHEALTHY: "critical",
    health.Health.DEGRADED: "warning",
    health.Health.UNKNOWN: "info",
}

#: Problems of one kind shown one by one; of more, the rest is only counted.
_SHOWN = 20


def status(ctx: context.Context) -> cluster_shapes.Status:
    found = figures.read(ctx)
    with ctx.uow.read() as tx:
        problems = [
            *_agents(ctx, tx),
            *_volumes(found.hurt),
            *_pools(tx),
        ]
    running = jobs.list_page(ctx, bodies.JobPage(state="running", limit=100))["items"]
    word = figures.summary(found)
    return {
        "health": word.value,
        "summary": _sentence(word, found, problems),
        "reasons": [problem["message"] for problem in problems],
        "cluster": found.cluster_id,
        "version": release.VERSION,
        "roles": found.roles,
        "devices": found.devices,
        "devices_reason": ", ".join(
            f"{name} is {'down' if how is health.Reach.DOWN else 'not heard of yet'}"
            for name, how in sorted(found.silent.items())
        ),
        "capacity": found.capacity,
        "volumes": found.volumes,
        "jobs": running,
        "problems": problems,
    }


def _sentence(
    word: health.Health, found: figures.Figures, problems: list[cluster_shapes.Problem]
) -> str:
    volumes = sum(found.volumes.values())
    sds_counts = found.roles["sds"]
    what = f"{sds_counts['up']} of {sds_counts['total']} SDSs answer"
    if not volumes:
        return f"The cluster is {word}: {what}, and there are no volumes yet."
    well = found.volumes[health.Health.HEALTHY.value]
    text = f"The cluster is {word}: {what}, {well} of {volumes} volumes are healthy"
    return f"{text}, {len(problems)} problems." if len(problems) > 1 else f"{text}."


def _agents(ctx: context.Context, tx: unit_of_work.Tx) -> list[cluster_shapes.Problem]:
    problems = []
    for one in sds.all_in(ctx, tx):
        if one["state"] == "maintenance":
            problems.append(_resting(one["name"]))
        elif one["health"] != health.Health.HEALTHY.value:
            problems.append(_agent("SDS", one["name"], one["health"], one["reason"]))
    for client in sdcs.all_in(ctx, tx):
        if client["health"] != health.Health.HEALTHY.value:
            problems.append(_agent("SDC", client["name"], client["health"], client["reason"]))
    return problems


def _resting(name: str) -> cluster_shapes.Problem:
    return {
        "severity": "info",
        "component": f"sds/{name}",
        "message": f"SDS {name} is in maintenance: its copies wait for it, none is made elsewhere",
        "what_to_do": f"when it is ready: basalt sds maintenance exit {name}",
    }


def _agent(kind: str, name: str, word: str, reason: str) -> cluster_shapes.Problem:
    unit = f"basalt-{kind.lower()}"
    what = {
        "degraded": f"look at its devices (basalt {kind.lower()} show {name})",
        "unknown": "wait a few seconds",
    }.get(word, f"start {unit} on its host, or see its log (journalctl -u {unit})")
    return {
        # Data has two copies: one SDS less hurts nobody yet.
        "severity": "info" if word == "unknown" else "warning",
        "component": f"{kind.lower()}/{name}",
        "message": f"{kind} {name} is {'down' if word == 'unhealthy' else word}: {reason}",
        "what_to_do": what,
    }


def _volumes(states: list[tuple[health.Health, str, str]]) -> list[cluster_shapes.Problem]:
    hurt = sorted(states, key=lambda one: (list(_SEVERITY).index(one[0]), one[1]))
    problems: list[cluster_shapes.Problem] = [
        {
            "severity": _SEVERITY[word],
            "component": f"volume/{name}",
            "message": f"volume {name} is {word}: {reason}",
            "what_to_do": _for_volume(word, reason),
        }
        for word, name, reason in hurt[:_SHOWN]
    ]
    if len(hurt) > _SHOWN:
        problems.append(
            {
                "severity": _SEVERITY[hurt[_SHOWN][0]],
                "component": "volume",
                "message": f"{len(hurt) - _SHOWN} more volumes are not healthy",
                "what_to_do": "list them (basalt volume list)",
            }
        )
    return problems


def _for_volume(word: health.Health, reason: str) -> str:
    if reason == proof.OLD:
        return "stop the MDM, then basalt mdm restore or basalt recover mdm"
    if reason == proof.UNPROVED:
        return "start the SDSs that do not answer"
    if word is health.Health.UNHEALTHY:
        return "bring back one of the SDSs named, with its devices"
    if word is health.Health.DEGRADED and volume_views.NO_ROOM in reason:
        return "free space on the device named, or move what is on it (basalt device remove)"
    if word is health.Health.DEGRADED and volume_views.TRIED_AGAIN in reason:
        return "wait: what is stale is tried again by itself"
    if word is health.Health.DEGRADED:
        return "bring back what is named; the copies are then made equal by themselves"
    return "wait a few seconds"


def _pools(tx: unit_of_work.Tx) -> list[cluster_shapes.Problem]:
    problems: list[cluster_shapes.Problem] = []
    for pool in pools.all_in(tx):
        if not pool["capacity_bytes"]:
            continue
        full = 100 - 100 * pool["free_bytes"] // pool["capacity_bytes"]
        if full < pool["warn_percent"]:
            continue
        severity = "critical" if full >= pool["critical_percent"] else "warning"
        problems.append(
            {
                "severity": severity,
                "component": f"pool/{pool['name']}",
                "message": f"pool {pool['name']} is {full} % full: "
                f"{units.format_size(pool['free_bytes'])} of "
                f"{units.format_size(pool['capacity_bytes'])} are free",
                "what_to_do": "add devices, or delete volumes; at 100 % writes fail with ENOSPC "
                f"(thin volumes may be promised {capacity.OVERCOMMIT} times the capacity)",
            }
        )
    return problems

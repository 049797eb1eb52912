"""``basalt status``: the cluster at a glance, for somebody woken at three in the morning."""

from typing import Any

import click

from appliance.cli import command, output
from appliance.cli.session import Session

_HEALTH_STYLE = {"healthy": "bold green", "degraded": "bold yellow", "unhealthy": "bold red"}
_WORDS = {"unreachable": "not reachable"}
_SEVERITY_STYLE = {"warning": "yellow", "error": "red", "critical": "bold red"}


@click.command(cls=command.Command)
@click.pass_obj
def status(session: Session) -> None:
    """Health in one sentence, what needs attention and what to do, capacity, volumes, jobs."""
    seen = session.get("status")
    if session.json:
        output.emit_json(seen)
        return
    output.say(seen["summary"], _HEALTH_STYLE.get(seen["health"], "bold"))
    _problems(seen["problems"])
    output.line()
    output.details(
        [
            ("Cluster", f"{seen['cluster']}, version {seen['version']}"),
            ("Capacity", _capacity(seen["capacity"])),
            ("Roles", _roles(seen["roles"])),
            ("Devices", _devices(seen["devices"], seen["devices_reason"])),
            ("Volumes", _counts(seen["volumes"])),
            ("Jobs", "" if seen["jobs"] else "none running"),
        ]
    )
    if seen["jobs"]:
        output.line()
        _jobs(seen["jobs"])


def _problems(problems: list[dict[str, Any]]) -> None:
    """What needs a person, the worst first, each with what to do."""
    for problem in problems:
        output.line()
        severity = problem["severity"]
        output.say(f"{severity}: {problem['message']}", _SEVERITY_STYLE.get(severity, ""))
        if problem["what_to_do"]:
            output.say(f"  -> {problem['what_to_do']}")


def _capacity(seen: dict[str, Any]) -> str:
    used, whole = seen["used_bytes"], seen["capacity_bytes"]
    return f"{output.size(used)} of {output.size(whole)} used ({output.percent(used, whole)})"


def _roles(seen: dict[str, Any]) -> str:
    return ", ".join(f"{of['up']} of {of['total']} {role.upper()} up" for role, of in seen.items())


def _counts(seen: dict[str, int]) -> str:
    """``4: 3 healthy, 1 degraded``."""
    parts = ", ".join(f"{count} {state}" for state, count in seen.items() if count)
    return f"{sum(seen.values())}: {parts}" if parts else "none"


def _devices(seen: dict[str, int], why: str) -> str:
    """``3: 2 ok, 1 not reachable (sds2 is down)``."""
    text = _counts({_WORDS.get(state, state): count for state, count in seen.items()})
    return f"{text} ({why})" if why else text


def _jobs(jobs: list[dict[str, Any]]) -> None:
    rows = [
        (one["kind"], one["subject"], output.percent(one["done_bytes"], one["total_bytes"]))
        for one in jobs
    ]
    output.table(["job", "subject", ">done"], rows)

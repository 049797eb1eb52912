"""``basalt pool``: storage pools, the devices volumes are made of."""

from typing import Any

import click

from appliance.cli import command, output, verbs
from appliance.cli.session import Session

_REF = command.Ref("pools")
_POLICIES = ["unlimited", "copies", "bandwidth", "favour-application"]


@click.group(cls=command.Group)
def pool() -> None:
    """Storage pools: devices of one domain and media type."""


@pool.command()
@click.argument("name")
@click.option("--domain", type=command.Ref("domains"), default="default", show_default=True)
@click.option("--media", type=click.Choice(["ssd", "hdd"]), help="[default: ssd]")
@click.option("--spare", "spare_percent", type=click.IntRange(0, 90), metavar="PERCENT",
              help="Kept free for rebuilds.")  # fmt: skip
@click.option("--warn", "warn_percent", type=click.IntRange(1, 100), metavar="PERCENT",
              help="Used capacity that gives a warning.")  # fmt: skip
@click.option("--critical", "critical_percent", type=click.IntRange(1, 100), metavar="PERCENT",
              help="Used capacity that is critical.")  # fmt: skip
@click.pass_obj
def create(session: Session, /, **given: Any) -> None:
    """Make a storage pool."""
    body = {key: value for key, value in given.items() if value is not None}
    made = session.post("pools", body=body)
    output.changed(session.json, made, f"made pool {made['name']}")


@pool.command("list")
@click.pass_obj
def list_(session: Session) -> None:
    """All storage pools with their capacity."""
    headings = ["name", "domain", "media", ">devices", ">capacity", ">used", ">free"]
    output.listed(session.json, session.items("pools"), headings, _row)


@pool.command()
@click.argument("ref", type=_REF)
@click.pass_obj
def show(session: Session, ref: str) -> None:
    """One storage pool: capacity, what is promised to volumes, alert limits."""
    item = session.get("pools", ref)
    whole = item["capacity_bytes"]
    output.shown(
        session.json,
        item,
        [
            ("Name", item["name"]),
            ("Id", item["id"]),
            ("Domain", item["domain"]),
            ("Media", item["media"]),
            ("Devices", item["devices"]),
            ("Capacity", output.size(whole)),
            ("Used", _part(item["used_bytes"], whole)),
            ("Free", _part(item["free_bytes"], whole)),
            ("Reserved", f"{output.size(item['reserved_bytes'])} by thick volumes"),
            ("Promised", f"{output.size(item['provisioned_bytes'])} to thin volumes, both copies"),
            ("Spare", f"{item['spare_percent']} %"),
            ("Copies", _policy(item)),
            ("Rebalance", "when devices come" if item["rebalance"] else "by order only"),
            ("Scrub", _scrub(item["scrub"])),
            (
                "Alerts",
                f"warning at {item['warn_percent']} %, critical at {item['critical_percent']} %",
            ),
        ],
    )


@pool.command("set")
@click.argument("ref", type=_REF)
@click.option("--rebuild-policy", type=click.Choice(_POLICIES),
              help="How copies of any kind share devices with applications.")  # fmt: skip
@click.option("--rebuild-copies", type=click.IntRange(0, 8), metavar="N",
              help="Copies at one device at once; 0: as the policy has it.")  # fmt: skip
@click.option("--rebuild-bandwidth", type=command.Size(), metavar="SIZE",
              help="Bytes a second of copies at one device; 0: as the policy has it.")  # fmt: skip
@click.option("--rebalance/--no-rebalance", default=None,
              help="Even the pool out by itself when devices come.")  # fmt: skip
@click.option("--spare", "spare_percent", type=click.IntRange(0, 90), metavar="PERCENT",
              help="Kept free for rebuilds.")  # fmt: skip
@click.option("--warn", "warn_percent", type=click.IntRange(1, 100), metavar="PERCENT",
              help="Used capacity that gives a warning.")  # fmt: skip
@click.option("--critical", "critical_percent", type=click.IntRange(1, 100), metavar="PERCENT",
              help="Used capacity that is critical.")  # fmt: skip
@click.option("--scrub/--no-scrub", "enabled", default=None, help="Scrub its volumes.")
@click.option("--scrub-rate", "rate", type=command.Size(), metavar="SIZE",
              help="Read from each device a second; 0 for no limit.")  # fmt: skip
@click.option("--scrub-policy", "policy", type=click.Choice(["report", "repair"]),
              help="What to do with a copy that is proved to have rotted.")  # fmt: skip
@click.option("--scrub-interval", "interval_days", type=click.IntRange(1, 3650), metavar="DAYS",
              help="From one pass over a volume to the next.")  # fmt: skip
@click.pass_obj
def set_(session: Session, /, ref: str, **given: Any) -> None:
    """Change a pool; copies that run follow at once."""
    policy = given.pop("policy")
    asked = {key: given.pop(key) for key in ("enabled", "rate", "interval_days")}
    asked["repair"] = None if policy is None else policy == "repair"
    scrub = {key: value for key, value in asked.items() if value is not None}
    body = {key: value for key, value in given.items() if value is not None}
    if "rebuild_policy" in body:
        body["rebuild_policy"] = body["rebuild_policy"].replace("-", "_")
    if not body and not scrub:
        raise click.UsageError("say what to change; basalt pool set --help")
    made = session.patch("pools", ref, body=body | ({"scrub": scrub} if scrub else {}))
    output.changed(session.json, made, f"changed pool {made['name']}")


verbs.rename(pool, "pools", "a pool", "pool")
verbs.delete(pool, "pools", "Delete a pool without devices or volumes.", "pool")


@pool.command()
@click.argument("ref", type=_REF)
@click.pass_obj
def rebalance(session: Session, ref: str) -> None:
    """Even a pool out now, whether or not it does so by itself."""
    answer = session.post("pools", ref, "rebalance", body={})
    text = f"pool {ref} is evened out: basalt job wait {answer['job']}"
    output.changed(session.json, answer, text)


def _row(item: dict[str, Any]) -> tuple[object, ...]:
    return (
        item["name"],
        item["domain"],
        item["media"],
        item["devices"],
        output.size(item["capacity_bytes"]),
        output.size(item["used_bytes"]),
        output.size(item["free_bytes"]),
    )


def _policy(item: dict[str, Any]) -> str:
    """``favour-application, at most 10 MiB/s a device``."""
    parts = [item["rebuild_policy"].replace("_", "-")]
    if item["rebuild_copies"]:
        parts.append(f"{item['rebuild_copies']} at once at a device")
    if item["rebuild_bandwidth"]:
        parts.append(f"{output.size(item['rebuild_bandwidth'])}/s at a device")
    return ", ".join(parts)


def _part(value: int, whole: int) -> str:
    return f"{output.size(value)} ({output.percent(value, whole)})"


def _scrub(policy: dict[str, Any]) -> str:
    if not policy["enabled"]:
        return "off"
    rate = f"{output.size(policy['rate'])}/s a device" if policy["rate"] else "as fast as it goes"
    what = "rot is repaired" if policy["repair"] else "rot is reported"
    return f"every {policy['interval_days']} days, {rate}; {what}"

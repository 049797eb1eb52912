"""``basalt device``: directories that storage servers give."""

from typing import Any

import click

from appliance.cli import command, output, waiting
from appliance.cli.session import Session
from appliance.common import errors

_REF = command.Ref("devices", "id")


@click.group(cls=command.Group)
def device() -> None:
    """Devices: a directory on its own file system, given by an SDS."""


@device.command()
@click.option("--sds", required=True, type=command.Ref("sds"), help="The server it is in.")
@click.option("--path", required=True, help="Absolute path of the directory on that server.")
@click.option("--pool", required=True, type=command.Ref("pools"))
@click.option("--media", type=click.Choice(["ssd", "hdd"]), help="[default: the pool's]")
@click.option("--limit", "limit_bytes", type=command.Size(), help="Use at most this much of it.")
@click.option("--wait", "wait_s", type=click.FloatRange(min=0), default=60.0, show_default=True,
              metavar="SECONDS", help="How long to wait for the server's word.")  # fmt: skip
@click.pass_obj
def add(session: Session, /, wait_s: float, **given: Any) -> None:
    """Add a device, and wait until its server took or refused it."""
    made = session.post("devices", body={k: v for k, v in given.items() if v is not None})
    seen = waiting.until(
        lambda: session.get("devices", made["id"]),
        lambda item: item["state"] != "adding",
        f"device {made['path']} to be taken by {given['sds']}",
        wait_s,
    )
    if seen["state"] != "ok":
        raise errors.Conflict(
            why=f"{made['path']} is {seen['state']}: {seen['reason']}",
            next=f"put it right, then: basalt device remove {made['id']}, and add it again",
        )
    output.changed(session.json, seen, f"added device {seen['id']} ({seen['path']})")


@device.command("list")
@click.option("--sds", type=command.Ref("sds"), help="Those of one server.")
@click.pass_obj
def list_(session: Session, sds: str | None) -> None:
    """All devices: where they are, how full, how well."""
    items = session.items("devices")
    if sds is not None:
        items = [item for item in items if sds in (item["sds"], item["sds_id"])]
    headings = ["id", "sds", "pool", "state", ">capacity", ">free", "path"]
    output.listed(session.json, items, headings, _row)


@device.command()
@click.argument("ref", type=_REF, metavar="ID")
@click.pass_obj
def show(session: Session, ref: str) -> None:
    """One device."""
    item = session.get("devices", ref)
    output.shown(
        session.json,
        item,
        [
            ("Id", item["id"]),
            ("SDS", item["sds"]),
            ("Path", item["path"]),
            ("Pool", item["pool"]),
            ("Media", item["media"]),
            ("State", output.reason(_state(item), item["reason"])),
            ("Draining", "yes: what it holds moves elsewhere" if item["draining"] else ""),
            ("Capacity", output.size(item["capacity_bytes"])),
            ("Free", output.size(item["free_bytes"])),
            ("Limit", output.size(item["limit_bytes"]) if item["limit_bytes"] else "none"),
        ],
    )


@device.command()
@click.argument("ref", type=_REF, metavar="ID")
@command.yes_option
@click.pass_obj
def remove(session: Session, ref: str, yes: bool) -> None:
    """Give a device back to its server; what it holds moves elsewhere first."""
    command.confirm(f"Remove device {ref} from the cluster?", yes)
    answer = session.delete("devices", ref)
    text = f"removed device {ref}"
    if answer is not None:
        text = f"device {ref} is removed once it is empty: basalt job wait {answer['job']}"
    output.changed(session.json, answer, text)


def _state(item: dict[str, Any]) -> str:
    """What its server said last is worth nothing while the server is down."""
    if item["state"] == "ok" and item["reach"] == "down":
        return "sds down"
    return str(item["state"])


def _row(item: dict[str, Any]) -> tuple[object, ...]:
    return (
        item["id"],
        item["sds"],
        item["pool"],
        _state(item),
        output.size(item["capacity_bytes"]),
        output.size(item["free_bytes"]),
        item["path"],
    )

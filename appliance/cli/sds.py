"""``basalt sds``: the storage servers. They register themselves (``basalt-sds``)."""

from typing import Any

import click

from appliance.cli import command, output, verbs
from appliance.cli.session import Session

_REF = command.Ref("sds")


@click.group(cls=command.Group)
def sds() -> None:
    """Storage servers (SDS)."""


@sds.command("list")
@click.pass_obj
def list_(session: Session) -> None:
    """All storage servers and how they are."""
    headings = ["name", "health", "state", "domain", "fault set", ">devices", "seen"]
    empty = "none; start basalt-sds on a host with the join token"
    output.listed(session.json, session.items("sds"), headings, _row, empty)


@sds.command()
@click.argument("ref", type=_REF)
@click.pass_obj
def show(session: Session, ref: str) -> None:
    """One storage server."""
    item = session.get("sds", ref)
    output.shown(
        session.json,
        item,
        [
            ("Name", item["name"]),
            ("Id", item["id"]),
            ("Health", output.reason(item["health"], item["reason"])),
            ("State", item["state"]),
            ("Seen", output.ago(item["last_seen_s"])),
            ("Domain", item["domain"]),
            ("Fault set", item["fault_set"] or "by itself"),
            ("Address", f"{', '.join(item['hosts'])} control port {item['control_port']}"),
            ("Devices", _devices(item)),
            ("Version", item["version"]),
        ],
    )


verbs.rename(sds, "sds", "a storage server", "SDS")
verbs.delete(
    sds,
    "sds",
    "Forget a storage server that holds no data any more.",
    "SDS",
    verb="remove",
    question="Remove SDS {ref} from the cluster?",
)


def _row(item: dict[str, Any]) -> tuple[object, ...]:
    return (
        item["name"],
        output.reason(item["health"], item["reason"]),
        item["state"],
        item["domain"],
        item["fault_set"] or "-",
        _devices(item),
        output.ago(item["last_seen_s"]),
    )


def _devices(item: dict[str, Any]) -> object:
    devices = item["devices"]
    return len(devices) if isinstance(devices, list) else devices

"""``basalt sds``: the storage servers. They register themselves (``basalt-sds``)."""

import click

from appliance.cli import command, output
from appliance.cli.session import Session

_REF = command.Ref("sds")


@click.group(cls=command.Group)
def sds() -> None:
    """Storage servers (SDS)."""


@sds.command("list")
@click.pass_obj
def list_(session: Session) -> None:
    """All storage servers and how they are."""
    items = session.items("sds")
    if session.json:
        output.emit_json(items)
        return
    rows = [
        (
            item["name"],
            output.reason(item["health"], item["reason"]),
            item["state"],
            item["domain"],
            item["fault_set"] or "-",
            _devices(item),
            output.ago(item["last_seen_s"]),
        )
        for item in items
    ]
    headings = ["name", "health", "state", "domain", "fault set", ">devices", "seen"]
    output.table(headings, rows, "none; start basalt-sds on a host with the join token")


@sds.command()
@click.argument("ref", type=_REF)
@click.pass_obj
def show(session: Session, ref: str) -> None:
    """One storage server."""
    item = session.get("sds", ref)
    if session.json:
        output.emit_json(item)
        return
    output.details(
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
        ]
    )


@sds.command()
@click.argument("ref", type=_REF)
@click.argument("name")
@click.pass_obj
def rename(session: Session, ref: str, name: str) -> None:
    """Give a storage server another name."""
    made = session.patch("sds", ref, body={"name": name})
    output.changed(session.json, made, f"SDS {ref} is now {made['name']}")


@sds.command()
@click.argument("ref", type=_REF)
@command.yes_option
@click.pass_obj
def remove(session: Session, ref: str, yes: bool) -> None:
    """Forget a storage server that holds no data any more."""
    command.confirm(f"Remove SDS {ref} from the cluster?", yes)
    output.changed(session.json, session.delete("sds", ref), f"removed SDS {ref}")


def _devices(item: dict[str, object]) -> object:
    devices = item["devices"]
    return len(devices) if isinstance(devices, list) else devices

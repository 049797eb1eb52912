"""``basalt sdc``: the client hosts that volumes are mapped to. They register themselves."""

import click

from appliance.cli import command, output
from appliance.cli.session import Session

_REF = command.Ref("sdcs")


@click.group(cls=command.Group)
def sdc() -> None:
    """Client hosts (SDC)."""


@sdc.command("list")
@click.pass_obj
def list_(session: Session) -> None:
    """All client hosts and how they are."""
    items = session.items("sdcs")
    if session.json:
        output.emit_json(items)
        return
    rows = [
        (
            item["name"],
            output.reason(item["health"], item["reason"]),
            "yes" if item["approved"] else "no",
            ", ".join(item["hosts"]),
            output.ago(item["last_seen_s"]),
        )
        for item in items
    ]
    headings = ["name", "health", "approved", "address", "seen"]
    output.table(headings, rows, "none; start basalt-sdc on a host with the join token")


@sdc.command()
@click.argument("ref", type=_REF)
@click.pass_obj
def show(session: Session, ref: str) -> None:
    """One client host."""
    item = session.get("sdcs", ref)
    if session.json:
        output.emit_json(item)
        return
    output.details(
        [
            ("Name", item["name"]),
            ("Id", item["id"]),
            ("Health", output.reason(item["health"], item["reason"])),
            ("Approved", "yes" if item["approved"] else "no"),
            ("Seen", output.ago(item["last_seen_s"])),
            ("Address", f"{', '.join(item['hosts'])} control port {item['control_port']}"),
            ("Version", item["version"]),
        ]
    )


@sdc.command()
@click.argument("ref", type=_REF)
@click.option("--no", "refuse", is_flag=True, help="Take the approval back.")
@click.pass_obj
def approve(session: Session, ref: str, refuse: bool) -> None:
    """Allow a client host to have volumes."""
    made = session.patch("sdcs", ref, body={"approved": not refuse})
    word = "no longer approved" if refuse else "approved"
    output.changed(session.json, made, f"SDC {made['name']} is {word}")


@sdc.command()
@click.argument("ref", type=_REF)
@click.argument("name")
@click.pass_obj
def rename(session: Session, ref: str, name: str) -> None:
    """Give a client host another name."""
    made = session.patch("sdcs", ref, body={"name": name})
    output.changed(session.json, made, f"SDC {ref} is now {made['name']}")


@sdc.command()
@click.argument("ref", type=_REF)
@command.yes_option
@click.pass_obj
def remove(session: Session, ref: str, yes: bool) -> None:
    """Forget a client host that has no volume mapped."""
    command.confirm(f"Remove SDC {ref} from the cluster?", yes)
    output.changed(session.json, session.delete("sdcs", ref), f"removed SDC {ref}")

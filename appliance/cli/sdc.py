"""``basalt sdc``: the client hosts that volumes are mapped to. They register themselves."""

from typing import Any

import click

from appliance.cli import command, output, verbs
from appliance.cli.session import Session

_REF = command.Ref("sdcs")


@click.group(cls=command.Group)
def sdc() -> None:
    """Client hosts (SDC)."""


@sdc.command("list")
@click.pass_obj
def list_(session: Session) -> None:
    """All client hosts and how they are."""
    headings = ["name", "health", "approved", "address", "seen"]
    empty = "none; start basalt-sdc on a host with the join token"
    output.listed(session.json, session.items("sdcs"), headings, _row, empty)


@sdc.command()
@click.argument("ref", type=_REF)
@click.pass_obj
def show(session: Session, ref: str) -> None:
    """One client host."""
    item = session.get("sdcs", ref)
    output.shown(
        session.json,
        item,
        [
            ("Name", item["name"]),
            ("Id", item["id"]),
            ("Health", output.reason(item["health"], item["reason"])),
            ("Approved", "yes" if item["approved"] else "no"),
            ("Seen", output.ago(item["last_seen_s"])),
            ("Address", f"{', '.join(item['hosts'])} control port {item['control_port']}"),
            ("Version", item["version"]),
        ],
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


verbs.rename(sdc, "sdcs", "a client host", "SDC")
verbs.delete(
    sdc,
    "sdcs",
    "Forget a client host that has no volume mapped.",
    "SDC",
    verb="remove",
    question="Remove SDC {ref} from the cluster?",
)


def _row(item: dict[str, Any]) -> tuple[object, ...]:
    return (
        item["name"],
        output.reason(item["health"], item["reason"]),
        "yes" if item["approved"] else "no",
        ", ".join(item["hosts"]),
        output.ago(item["last_seen_s"]),
    )

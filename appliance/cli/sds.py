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


@sds.command()
@click.argument("ref", type=_REF)
@click.option("--evacuate", "evacuate_", is_flag=True,
              help="Move what it holds elsewhere first, though it answers.")  # fmt: skip
@command.yes_option
@click.pass_obj
def remove(session: Session, ref: str, evacuate_: bool, yes: bool) -> None:
    """Forget a storage server.

    Of one that does not answer, what it held is made elsewhere at once, from the other copies.
    """
    command.confirm(f"Remove SDS {ref} from the cluster?", yes)
    answer = session.delete("sds", ref, evacuate=evacuate_ or None)
    if answer is None:
        output.changed(session.json, answer, f"removed SDS {ref}")
    else:
        _accepted(session, answer, f"SDS {ref} is removed once it is empty")


@sds.command()
@click.argument("ref", type=_REF)
@click.option("--undo", is_flag=True, help="Use it again; what has not moved yet stays there.")
@click.pass_obj
def evacuate(session: Session, ref: str, undo: bool) -> None:
    """Move everything off a storage server, which stays in the cluster, empty."""
    if undo:
        made = session.delete("sds", ref, "evacuation")
        output.changed(session.json, made, f"SDS {ref} is used again")
    else:
        answer = session.post("sds", ref, "evacuation", body={})
        _accepted(session, answer, f"everything moves off SDS {ref}")


@sds.group(cls=command.Group)
def maintenance() -> None:
    """A short absence by intent: nothing is rebuilt, and on return only changes are copied."""


@maintenance.command("enter")
@click.argument("ref", type=_REF)
@click.pass_obj
def enter(session: Session, ref: str) -> None:
    """Let a storage server be absent; refused where it has the only good copy of something."""
    made = session.post("sds", ref, "maintenance", body={})
    output.changed(session.json, made, f"SDS {ref} is in maintenance")


@maintenance.command("exit")
@click.argument("ref", type=_REF)
@click.pass_obj
def exit_(session: Session, ref: str) -> None:
    """Use a storage server again after maintenance."""
    made = session.delete("sds", ref, "maintenance")
    output.changed(session.json, made, f"SDS {ref} is used again")


def _accepted(session: Session, answer: dict[str, str], text: str) -> None:
    output.changed(session.json, answer, f"{text}: basalt job wait {answer['job']}")


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

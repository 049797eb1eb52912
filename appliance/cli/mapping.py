"""``basalt volume map`` and ``unmap``: a volume as a block device of a client host, and back."""

from typing import Any

import click

from appliance.cli import command, output, volume, waiting
from appliance.cli.session import Session
from appliance.common import errors

_BACKENDS = ["auto", "nbd", "fuse", "none"]


@click.command("map", cls=command.Command)
@click.argument("ref", type=command.Ref("volumes"), metavar="VOLUME")
@click.option("--sdc", type=command.Ref("sdcs"), help="The client host. [default: the only one]")
@click.option("--read-only", is_flag=True)
@click.option("--backend", type=click.Choice(_BACKENDS), default="auto", show_default=True,
              help="How the device is made: none gives an NBD socket only.")  # fmt: skip
@click.option("--wait/--no-wait", "wait", default=True, help="Wait for the device.")
@click.option("--wait-limit", "limit_s", type=click.FloatRange(min=0), default=60.0,
              show_default=True, metavar="SECONDS")  # fmt: skip
@click.pass_obj
def map_volume(
    session: Session,
    ref: str,
    sdc: str | None,
    read_only: bool,
    backend: str,
    wait: bool,
    limit_s: float,
) -> None:
    """Show a volume to a client host as a block device, and print the device."""
    body = {"sdc": sdc or _only_sdc(session), "read_only": read_only, "backend": backend}
    made = session.post("volumes", ref, "mappings", body=body)
    if wait:
        made = waiting.until(
            lambda: session.get("volumes", ref, "mappings", made["id"]),
            lambda item: item["state"] in ("attached", "failed"),
            f"volume {ref} on {made['sdc']}",
            limit_s,
            f"basalt volume show {ref} says how far it is; basalt volume unmap {ref} takes it back",
        )
    if made["state"] == "failed":
        raise errors.Unavailable(
            why=f"{made['sdc']} could not attach volume {ref}: {made['error']}",
            next=f"basalt volume unmap {ref} --sdc {made['sdc']}, put it right, then map again",
        )
    if session.json:
        output.emit_json(made)
        return
    if not wait:
        output.line(f"volume {ref} will be attached to {made['sdc']}: basalt volume show {ref}")
        return
    output.say(f"volume {ref} is {made['device'] or made['uri']} on {made['sdc']}")
    output.details(volume.mapping_details(made)[2:])


@click.command("unmap", cls=command.Command)
@click.argument("ref", type=command.Ref("volumes"), metavar="VOLUME")
@click.option("--sdc", type=command.Ref("sdcs"), help="The client host. [default: the only one]")
@click.option("--force", is_flag=True, help="Even if the host is dead: I/O in flight fails.")
@click.option("--wait/--no-wait", "wait", default=True, help="Wait until it is gone.")
@click.option("--wait-limit", "limit_s", type=click.FloatRange(min=0), default=60.0,
              show_default=True, metavar="SECONDS")  # fmt: skip
@command.yes_option
@click.pass_obj
def unmap_volume(
    session: Session,
    ref: str,
    sdc: str | None,
    force: bool,
    wait: bool,
    limit_s: float,
    yes: bool,
) -> None:
    """Take a volume's block device away from a client host."""
    mapping = _one_mapping(session, ref, sdc)
    host = mapping["sdc"]
    if force:
        command.confirm(f"Cut {host} off volume {ref}? Writes in flight are lost.", yes)
    answer = session.delete("volumes", ref, "mappings", mapping["id"], force=force or None)
    if wait:
        waiting.until(
            lambda: _still_there(session, ref, mapping["id"]),
            lambda item: item is None or bool(item["error"]),
            f"{host} to let volume {ref} go",
            limit_s,
            f"see what uses the device on {host}, or give it up: basalt volume unmap {ref} --force",
        )
        left = _still_there(session, ref, mapping["id"])
        if left is not None:
            raise errors.InUse(
                kind="volume",
                key=ref,
                why=left["error"],
                next="it comes off by itself once unused; --force loses what is not written",
            )
    word = "is no longer on" if wait else "will leave"
    output.changed(session.json, answer, f"volume {ref} {word} {host}")


def _only_sdc(session: Session) -> str:
    items = session.items("sdcs")
    if len(items) == 1:
        return str(items[0]["name"])
    names = ", ".join(item["name"] for item in items) or "none; start basalt-sdc on a host"
    raise errors.Invalid(what="--sdc", why=f"say which client host; there are: {names}")


def _one_mapping(session: Session, ref: str, sdc: str | None) -> dict[str, Any]:
    items = session.items("volumes", ref, "mappings")
    if sdc is not None:
        items = [item for item in items if sdc in (item["sdc"], item["sdc_id"])]
    if len(items) == 1:
        return items[0]
    if not items:
        raise errors.NotFound(
            kind="mapping of volume", key=ref, next=f"basalt volume show {ref} says where it is"
        )
    names = ", ".join(item["sdc"] for item in items)
    raise errors.Invalid(what="--sdc", why=f"volume {ref} is mapped to several hosts: {names}")


def _still_there(session: Session, ref: str, ident: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = session.get("volumes", ref, "mappings", ident)
    except errors.NotFound:
        return None
    return found

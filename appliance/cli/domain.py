"""``basalt domain``: protection domains, which data never crosses."""

import click

from appliance.cli import command, output
from appliance.cli.session import Session

_REF = command.Ref("domains")


@click.group(cls=command.Group)
def domain() -> None:
    """Protection domains: sets of SDSs that data never crosses."""


@domain.command()
@click.argument("name")
@click.pass_obj
def create(session: Session, name: str) -> None:
    """Make a protection domain."""
    made = session.post("domains", body={"name": name})
    output.changed(session.json, made, f"made protection domain {made['name']}")


@domain.command("list")
@click.pass_obj
def list_(session: Session) -> None:
    """All protection domains."""
    items = session.items("domains")
    if session.json:
        output.emit_json(items)
    else:
        output.table(["name", "id"], [(item["name"], item["id"]) for item in items])


@domain.command()
@click.argument("ref", type=_REF)
@click.pass_obj
def show(session: Session, ref: str) -> None:
    """One protection domain."""
    item = session.get("domains", ref)
    if session.json:
        output.emit_json(item)
    else:
        output.details([("Name", item["name"]), ("Id", item["id"])])


@domain.command()
@click.argument("ref", type=_REF)
@click.argument("name")
@click.pass_obj
def rename(session: Session, ref: str, name: str) -> None:
    """Give a protection domain another name."""
    made = session.patch("domains", ref, body={"name": name})
    output.changed(session.json, made, f"protection domain {ref} is now {made['name']}")


@domain.command()
@click.argument("ref", type=_REF)
@command.yes_option
@click.pass_obj
def delete(session: Session, ref: str, yes: bool) -> None:
    """Delete an empty protection domain."""
    command.confirm(f"Delete protection domain {ref}?", yes)
    output.changed(session.json, session.delete("domains", ref), f"deleted domain {ref}")

"""``basalt fault-set``: SDSs that fail together, a rack for instance."""

import click

from appliance.cli import command, output
from appliance.cli.session import Session

_REF = command.Ref("fault-sets")


@click.group("fault-set", cls=command.Group)
def fault_set() -> None:
    """Fault sets: SDSs that fail together. Two copies never lie in one."""


@fault_set.command()
@click.argument("name")
@click.option("--domain", type=command.Ref("domains"), default="default", show_default=True)
@click.pass_obj
def create(session: Session, name: str, domain: str) -> None:
    """Make a fault set in a protection domain."""
    made = session.post("fault-sets", body={"name": name, "domain": domain})
    output.changed(session.json, made, f"made fault set {made['name']}")


@fault_set.command("list")
@click.pass_obj
def list_(session: Session) -> None:
    """All fault sets."""
    items = session.items("fault-sets")
    if session.json:
        output.emit_json(items)
    else:
        rows = [(item["name"], item["domain"], item["id"]) for item in items]
        output.table(["name", "domain", "id"], rows)


@fault_set.command()
@click.argument("ref", type=_REF)
@click.pass_obj
def show(session: Session, ref: str) -> None:
    """One fault set."""
    item = session.get("fault-sets", ref)
    if session.json:
        output.emit_json(item)
    else:
        output.details([("Name", item["name"]), ("Id", item["id"]), ("Domain", item["domain"])])


@fault_set.command()
@click.argument("ref", type=_REF)
@click.argument("name")
@click.pass_obj
def rename(session: Session, ref: str, name: str) -> None:
    """Give a fault set another name."""
    made = session.patch("fault-sets", ref, body={"name": name})
    output.changed(session.json, made, f"fault set {ref} is now {made['name']}")


@fault_set.command()
@click.argument("ref", type=_REF)
@command.yes_option
@click.pass_obj
def delete(session: Session, ref: str, yes: bool) -> None:
    """Delete an empty fault set."""
    command.confirm(f"Delete fault set {ref}?", yes)
    output.changed(session.json, session.delete("fault-sets", ref), f"deleted fault set {ref}")

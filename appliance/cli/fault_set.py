"""``basalt fault-set``: SDSs that fail together, a rack for instance."""

import click

from appliance.cli import command, output, verbs
from appliance.cli.session import Session


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
    output.listed(
        session.json,
        session.items("fault-sets"),
        ["name", "domain", "id"],
        lambda item: (item["name"], item["domain"], item["id"]),
    )


@fault_set.command()
@click.argument("ref", type=command.Ref("fault-sets"))
@click.pass_obj
def show(session: Session, ref: str) -> None:
    """One fault set."""
    item = session.get("fault-sets", ref)
    pairs = [("Name", item["name"]), ("Id", item["id"]), ("Domain", item["domain"])]
    output.shown(session.json, item, pairs)


verbs.rename(fault_set, "fault-sets", "a fault set", "fault set")
verbs.delete(fault_set, "fault-sets", "Delete an empty fault set.", "fault set")

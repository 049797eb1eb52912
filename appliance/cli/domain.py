"""``basalt domain``: protection domains, which data never crosses."""

import click

from appliance.cli import command, output, verbs
from appliance.cli.session import Session


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
    output.listed(session.json, items, ["name", "id"], lambda item: (item["name"], item["id"]))


@domain.command()
@click.argument("ref", type=command.Ref("domains"))
@click.pass_obj
def show(session: Session, ref: str) -> None:
    """One protection domain."""
    item = session.get("domains", ref)
    delay = f"{item['rebuild_delay_s']:g} s after an SDS went away"
    pairs = [("Name", item["name"]), ("Id", item["id"]), ("Rebuild", delay)]
    output.shown(session.json, item, pairs)


@domain.command("set")
@click.argument("ref", type=command.Ref("domains"))
@click.option("--rebuild-delay", "rebuild_delay_s", type=click.FloatRange(min=0), required=True,
              metavar="SECONDS", help="How long an SDS may stay away before its replicas are made "
              "elsewhere.")  # fmt: skip
@click.pass_obj
def set_(session: Session, ref: str, rebuild_delay_s: float) -> None:
    """Change a protection domain."""
    made = session.patch("domains", ref, body={"rebuild_delay_s": rebuild_delay_s})
    output.changed(session.json, made, f"changed protection domain {made['name']}")


verbs.rename(domain, "domains", "a protection domain", "protection domain")
verbs.delete(
    domain,
    "domains",
    "Delete an empty protection domain.",
    "domain",
    question="Delete protection domain {ref}?",
)

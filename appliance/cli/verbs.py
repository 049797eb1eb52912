"""The verbs that are the same for every noun: ``rename``, and ``delete`` or ``remove``."""

import click

from appliance.cli import command, output
from appliance.cli.session import Session


def rename(group: click.Group, collection: str, what: str, kind: str) -> None:
    """Give ``group`` the verb: ``what`` is for its help ("a pool"), ``kind`` for its answer."""

    @group.command(help=f"Give {what} another name.")
    @click.argument("ref", type=command.Ref(collection))
    @click.argument("name")
    @click.pass_obj
    def rename(session: Session, ref: str, name: str) -> None:
        made = session.patch(collection, ref, body={"name": name})
        output.changed(session.json, made, f"{kind} {ref} is now {made['name']}")


def delete(
    group: click.Group,
    collection: str,
    help: str,
    kind: str,
    *,
    verb: str = "delete",
    question: str = "",
    field: str = "name",
) -> None:
    """Give ``group`` the verb, which asks ``question`` (about ``{ref}``) on a terminal.

    ``field`` is what the shell completes: objects without a name are called by their id.
    """
    question = question or f"{verb.capitalize()} {kind} {{ref}}?"

    @group.command(verb, help=help)
    @click.argument("ref", type=command.Ref(collection, field), metavar=_metavar(field))
    @command.yes_option
    @click.pass_obj
    def delete(session: Session, ref: str, yes: bool) -> None:
        command.confirm(question.format(ref=ref), yes)
        output.changed(session.json, session.delete(collection, ref), f"{verb}d {kind} {ref}")


def _metavar(field: str) -> str | None:
    return "ID" if field == "id" else None

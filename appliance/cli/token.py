"""``basalt token``: what people, programs and new agents show to be let in."""

import click

from appliance.cli import command, output
from appliance.cli.session import Session

_REF = command.Ref("tokens")


@click.group(cls=command.Group)
def token() -> None:
    """Tokens for people and programs."""


@token.command()
@click.argument("name")
@click.option("--role", type=click.Choice(["administrator", "join"]), default="administrator",
              show_default=True, help="join: agents register with it, nothing else.")  # fmt: skip
@click.pass_obj
def create(session: Session, name: str, role: str) -> None:
    """Make a token and print it: it is not kept in clear and cannot be shown again."""
    made = session.post("tokens", body={"name": name, "role": role})
    if session.json:
        output.emit_json(made)
    else:
        output.note(f"made {role} token {name}; it is shown this once only:")
        output.line(made["token"])


@token.command("list")
@click.pass_obj
def list_(session: Session) -> None:
    """All tokens, without their secret."""
    items = session.items("tokens")
    if session.json:
        output.emit_json(items)
        return
    rows = [
        (item["name"], item["role"], item["id"], output.moment(item["created_at"]))
        for item in items
    ]
    output.table(["name", "role", "id", "made"], rows)


@token.command()
@click.argument("ref", type=_REF)
@command.yes_option
@click.pass_obj
def delete(session: Session, ref: str, yes: bool) -> None:
    """Take a token back: who uses it is locked out at once."""
    command.confirm(f"Delete token {ref}?", yes)
    output.changed(session.json, session.delete("tokens", ref), f"deleted token {ref}")

"""``basalt token``: what people, programs and new agents show to be let in."""

import click

from appliance.cli import command, output, verbs
from appliance.cli.session import Session


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
    output.listed(
        session.json,
        items,
        ["name", "role", "id", "made"],
        lambda item: (item["name"], item["role"], item["id"], output.moment(item["created_at"])),
    )


verbs.delete(
    token,
    "tokens",
    "Take a token back: who uses it is locked out at once.",
    "token",
)

"""What every command shares: ``--json`` after any verb, sizes and names as arguments, questions
before anything is destroyed, and the words for an error. Used by each noun's file."""

import os
import sys
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from appliance.cli import session
from appliance.common import errors, units


class Command(click.Command):
    """A command that also takes ``--json`` at its own end (``basalt volume show v --json``)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(_json_option())


class Group(click.Group):
    """A noun, whose verbs are ``Command``."""

    command_class = Command


class Size(click.ParamType):
    """Bytes, written like ``512MiB`` or ``8G``."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return units.parse_size(value)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


class Ref(click.ParamType):
    """The name or id of an object; the shell completes it from the MDM's list ``collection``."""

    name = "name"

    def __init__(self, collection: str, field: str = "name") -> None:
        self._collection = collection
        self._field = field

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        asking = from_environment(timeout_s=1.0)
        try:
            names = [item[self._field] for item in asking.items(self._collection)]
        except (errors.BasaltError, OSError):
            return []  # a TAB must never print an error into the line being typed
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def from_environment(timeout_s: float = 10.0) -> session.Session:
    """A session as BASALT_URL, BASALT_TOKEN_FILE and BASALT_CA_FILE say."""
    ca_file = os.environ.get("BASALT_CA_FILE")
    token_file = os.environ.get("BASALT_TOKEN_FILE")
    return session.Session(
        urls=split_urls(os.environ.get("BASALT_URL") or session.DEFAULT_URL),
        token_file=Path(token_file) if token_file else None,
        timeout_s=timeout_s,
        ca_file=Path(ca_file) if ca_file else None,
    )


def split_urls(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def yes_option(function: Any) -> Any:
    """``--yes``: do not ask."""
    return click.option("--yes", "-y", is_flag=True, help="Do not ask.")(function)


def confirm(question: str, yes: bool) -> None:
    """Ask on a terminal unless ``--yes`` was given; a script is not asked.

    Raises click.Abort when the answer is no.
    """
    if not yes and sys.stdin.isatty() and sys.stderr.isatty():
        click.confirm(question, abort=True, err=True)


def _json_option() -> click.Option:
    def _set(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        if value and ctx.obj is not None:
            ctx.obj.json = True

    return click.Option(
        ["--json"],
        is_flag=True,
        expose_value=False,
        callback=_set,
        help="Print the API's answer as JSON, nothing else, on stdout.",
    )

"""``basalt event``: every change of the cluster: who, what, when, under which request."""

import json
import time
from collections.abc import Iterable
from typing import Any

import click

from appliance.cli import command, output
from appliance.cli.session import Session

_FOLLOW_POLL_S = 1.0


@click.group(cls=command.Group)
def event() -> None:
    """Events: who changed what, and when."""


@event.command("list")
@click.option("--subject", help="Only those of this object (name or id).")
@click.option("--kind", help="Only this kind, such as volume_created.")
@click.option("--after", type=click.IntRange(min=0), metavar="SEQ", help="Only newer than this.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True,
              help="At most so many, the newest.")  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="However many there are.")
@click.option("--follow", "-f", is_flag=True, help="Go on with each new one, until Ctrl-C.")
@click.pass_obj
def list_(
    session: Session, /, after: int | None, limit: int, everything: bool, follow: bool, **words: Any
) -> None:
    """Events, the newest last."""
    if everything:
        found = session.items("events", after=after, **words)
    else:
        newest = session.get("events", order="desc", limit=limit, after=after, **words)
        found = newest["items"][::-1]
    if session.json and not follow:
        output.emit_json(found)
        return
    _print(found, session.json)
    seen = found[-1]["seq"] if found else after
    while follow:
        time.sleep(_FOLLOW_POLL_S)
        items = session.items("events", after=seen, **words)
        _print(items, session.json)
        seen = items[-1]["seq"] if items else seen


def _print(items: Iterable[dict[str, Any]], as_json: bool) -> None:
    """A line per event, so that a pipe gets each one as it comes."""
    for item in items:
        if as_json:
            output.line(json.dumps(item))
            continue
        subject = f"{item['subject_kind']} {item['subject']}".strip()
        detail = " ".join(f"{key}={value}" for key, value in item["detail"].items())
        output.line(
            f"{output.moment(item['at'])}  {item['kind']}  {subject}  by {item['who']}"
            + (f"  {detail}" if detail else "")
        )

"""``basalt event``: every change of the cluster: who, what, when, under which request."""

import collections
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
@click.option("--kind", help="Only this kind, such as volume.created.")
@click.option("--after", type=click.IntRange(min=0), metavar="SEQ", help="Only newer than this.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True,
              help="At most so many, the newest.")  # fmt: skip
@click.option("--follow", "-f", is_flag=True, help="Go on with each new one, until Ctrl-C.")
@click.pass_obj
def list_(
    session: Session,
    subject: str | None,
    kind: str | None,
    after: int | None,
    limit: int,
    follow: bool,
) -> None:
    """Events, the newest last."""
    newest: collections.deque[dict[str, Any]] = collections.deque(maxlen=limit)
    for page in session.pages("events", subject=subject, kind=kind, after=after):
        newest.extend(page)
    if session.json and not follow:
        output.emit_json(list(newest))
        return
    _print(newest, session.json)
    seen = newest[-1]["seq"] if newest else after
    while follow:
        time.sleep(_FOLLOW_POLL_S)
        items = session.items("events", subject=subject, kind=kind, after=seen)
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

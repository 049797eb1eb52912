"""``basalt scrub``: comparing the copies of volumes, now rather than when it is due."""

from typing import Any

import click

from appliance.cli import command, output
from appliance.cli.session import Session

_REF = command.Ref("volumes")

_SAID = {
    "start": "the scrub of volume {volume} is {state}",
    "pause": "the scrub of volume {volume} rests at {percent} %",
    "resume": "the scrub of volume {volume} is {state} from {percent} % on",
    "stop": "the scrub of volume {volume} was ended",
}


@click.group(cls=command.Group)
def scrub() -> None:
    """Compare both copies of a volume, and say which of them rotted.

    Every pool's volumes are scrubbed in turn by themselves; see basalt pool set.
    """


@scrub.command()
@click.argument("refs", type=_REF, nargs=-1)
@click.pass_obj
def status(session: Session, refs: tuple[str, ...]) -> None:
    """How far scrubs are, and what the last ones found."""
    items = [
        one
        for one in session.items("scrubs")
        if not refs or one["volume"] in refs or one["volume_id"] in refs
    ]
    headings = ["volume", "state", ">done", ">differences", ">repaired", ">skipped", "last done"]
    empty = "no volume was scrubbed yet; begin with: basalt scrub start VOLUME"
    output.listed(session.json, items, headings, _row, empty)


def details(item: dict[str, Any] | None) -> str:
    """One volume's scrub in a sentence, for ``basalt volume show``."""
    if item is None:
        return "never"
    found = f"{_count(item['mismatches'], 'difference')}, {item['repaired']} repaired"
    if item["skipped_regions"]:
        found += f", {_count(item['skipped_regions'], 'region')} skipped as in use"
    if item["state"] != "idle":
        text = f"{item['state']} at {item['percent']} %: {found}"
        return f"{text}; {item['detail']}" if item["detail"] else text
    if item["finished_at"] is None:
        return f"ended early: {found}"
    return f"last done {output.moment(item['finished_at'])}: {found}"


def _row(item: dict[str, Any]) -> tuple[object, ...]:
    percent = item["percent"]
    return (
        item["volume"],
        output.reason(item["state"], item["detail"]),
        "-" if percent is None else f"{percent} %",
        item["mismatches"],
        item["repaired"],
        item["skipped_regions"],
        output.moment(item["finished_at"]),
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _verb(action: str, help: str) -> None:
    @scrub.command(action, help=help)
    @click.argument("refs", type=_REF, nargs=-1)
    @click.option("--all", "everything", is_flag=True, help="Every volume this can be done to.")
    @click.pass_obj
    def act(session: Session, refs: tuple[str, ...], everything: bool) -> None:
        if everything == bool(refs):
            raise click.UsageError("give the names of volumes, or --all")
        chosen = list(refs) if refs else _able(session, action)
        done = [session.post("volumes", ref, "scrub", body={"action": action}) for ref in chosen]
        text = "\n".join(_SAID[action].format(**one) for one in done)
        output.changed(session.json, done, text or "there is none")


def _able(session: Session, action: str) -> list[str]:
    """Ids of the volumes that ``action`` can be done to."""
    known = {one["volume_id"]: one["state"] for one in session.items("scrubs")}
    if action == "start":
        volumes = session.items("volumes")
        return [
            one["id"]
            for one in volumes
            if one["state"] == "ready" and known.get(one["id"], "idle") == "idle"
        ]
    states = {
        "pause": ("queued", "running"),
        "resume": ("paused",),
        "stop": ("queued", "running", "paused"),
    }[action]
    return [ident for ident, state in known.items() if state in states]


_verb("start", "Begin a pass; where a device is busy with another one it waits.")
_verb("pause", "Let a pass rest; it goes on where it was.")
_verb("resume", "Let a pass go on.")
_verb("stop", "End a pass; the next one begins from the front.")

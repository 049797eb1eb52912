"""``basalt volume``: making, looking at, growing and deleting volumes. Mapping: ``mapping``."""

import itertools
from typing import Any

import click

from appliance.cli import command, output, scrub, verbs, waiting
from appliance.cli.session import Session

_REF = command.Ref("volumes")


@click.group(cls=command.Group)
def volume() -> None:
    """Volumes: mirrored, striped block devices."""


@volume.command()
@click.argument("name")
@click.option("--size", "size_bytes", type=command.Size(), required=True,
              help="Like 512MiB or 8G; a multiple of 1 MiB.")  # fmt: skip
@click.option("--pool", type=command.Ref("pools"), help="Needed if there are several.")
@click.option("--thick", is_flag=True, help="Reserve all of it now.")
@click.option("--columns", type=click.IntRange(1, 64), help="Stripe over N pairs of devices.")
@click.option("--shareable", is_flag=True, help="May be mapped to several hosts at once.")
@click.option("--wait-limit", "wait_limit_s", type=click.FloatRange(min=0), metavar="SECONDS",
              help="How long I/O waits when no copy can be read; 0 is for ever.")  # fmt: skip
@click.option("--wait", "wait_s", type=click.FloatRange(min=0), default=600.0, show_default=True,
              metavar="SECONDS", help="How long to wait for a thick one's space.")  # fmt: skip
@click.pass_obj
def create(session: Session, /, thick: bool, shareable: bool, wait_s: float, **given: Any) -> None:
    """Make a volume."""
    body = {key: value for key, value in given.items() if value is not None}
    body |= {"thin": not thick} | ({"shareable": True} if shareable else {})
    made = session.post("volumes", body=body)
    if made["state"] == "allocating":
        made = waiting.until(
            lambda: session.get("volumes", made["id"]),
            lambda item: item["state"] != "allocating",
            f"the space of volume {made['name']}",
            wait_s,
        )
    text = f"made volume {made['name']}: {_kind(made)}, {_layout(made)}"
    output.changed(session.json, made, text)


@volume.command("list")
@click.pass_obj
def list_(session: Session) -> None:
    """All volumes."""
    headings = ["name", ">size", ">used", "kind", "health", "pool", "mapped to"]
    empty = "none; make one: basalt volume create NAME --size 8G"
    output.listed(session.json, session.items("volumes"), headings, _row, empty)


@volume.command()
@click.argument("ref", type=_REF)
@click.pass_obj
def show(session: Session, ref: str) -> None:
    """One volume: its health, where it is mapped, and where each copy lies."""
    item = session.get("volumes", ref)
    if session.json:
        output.emit_json(item)
        return
    output.details(
        [
            ("Name", item["name"]),
            ("Id", item["id"]),
            ("Size", f"{_kind(item)}, {output.size(item['used_bytes'])} used on disk"),
            ("State", item["state"]),
            ("Health", output.reason(item["health"], item["reason"])),
            ("Pool", item["pool"]),
            ("Layout", _layout(item)),
            (
                "Map",
                f"generation {item['generation']}, version {item['map_version']}"
                + (", a turn is open" if item["turn_open"] else ""),
            ),
            ("Shared", "may be mapped several times" if item["shareable"] else "no"),
            ("Wait limit", _wait_limit(item["wait_limit_s"])),
            ("Scrubbed", scrub.details(item["scrub"])),
            ("Made", output.moment(item["created_at"])),
        ]
    )
    for mapping in item["mappings"]:
        output.line()
        output.details(mapping_details(mapping, item["size_bytes"]))
    output.line()
    rows = [
        (one["column"], one["slot"], one["state"], one["sds"], one["device_path"])
        for one in item["replicas"]
    ]
    output.table([">column", ">copy", "state", "sds", "device"], rows)
    for where, why in _refusals(item):
        output.line()
        output.say(f"{where}: {why}")


@volume.command()
@click.argument("ref", type=_REF)
@click.pass_obj
def status(session: Session, ref: str) -> None:
    """How a volume is: its health, copies by state, mappings, running jobs."""
    item = session.get("volumes", ref)
    jobs = [
        job for job in session.items("jobs", state="running") if job["subject_id"] == item["id"]
    ]
    counts = _copies(item)
    if session.json:
        keys = ("id", "name", "state", "health", "reason", "generation", "turn_open", "mappings")
        facts = {key: item[key] for key in keys}
        refused = [{"where": where, "why": why} for where, why in _refusals(item)]
        output.emit_json(facts | {"copies": counts, "refused": refused, "jobs": jobs})
        return
    output.say(f"{item['name']} is " + output.reason(item["health"], item["reason"]))
    copies = ", ".join(f"{count} {state}" for state, count in counts.items())
    pairs = [("Copies", copies)]
    pairs += [("Refused", f"{where}: {why}") for where, why in _refusals(item)]
    pairs += [("Mapped to", _where(mapping, long=True)) for mapping in item["mappings"]]
    pairs += [("Job", f"{job['kind']} {_done(job)}") for job in jobs]
    output.details(pairs)


@volume.command()
@click.argument("ref", type=_REF)
@click.option("--size", "size_bytes", type=command.Size(), required=True, help="The new size.")
@click.pass_obj
def grow(session: Session, ref: str, size_bytes: int) -> None:
    """Make a volume larger."""
    made = session.patch("volumes", ref, body={"size_bytes": size_bytes})
    output.changed(session.json, made, f"volume {made['name']} is now {_kind(made)}")
    for mapping in made["mappings"]:
        if old := old_size(mapping, size_bytes):
            output.note(f"{mapping['device']} on {mapping['sdc']} {old}:")
            where = f"{made['name']} --sdc {mapping['sdc']}"
            output.note(f"basalt volume unmap {where} && basalt volume map {where}")


@volume.command()
@click.argument("ref", type=_REF)
@click.option("--accept-loss", is_flag=True, help="Go on without the copies that are missing.")
@command.yes_option
@click.pass_obj
def recover(session: Session, ref: str, accept_loss: bool, yes: bool) -> None:
    """Say what a blocked volume waits for, or go on without it.

    A volume is blocked when the only copies that answer lost their cache. It goes on by itself as
    soon as one of the SDSs named is back. Only if none will ever be is this for you: with
    --accept-loss, writes that were acknowledged and not yet flushed may be gone.
    """
    seen = session.get("volumes", ref, "recovery")
    if not accept_loss:
        output.changed(session.json, seen, seen["explanation"])
        return
    if seen["possible"]:
        if not session.json:
            output.say(seen["explanation"] + ".")
        command.confirm(f"Give up what only {', '.join(seen['bring_back'])} may have?", yes)
    done = session.post("volumes", ref, "recovery", body={"accept_loss": True})
    output.changed(session.json, done, f"volume {ref} goes on with {', '.join(done['keep'])}")


def mapping_details(mapping: dict[str, Any], volume_bytes: int = 0) -> list[tuple[str, object]]:
    """What a person wants to know of a mapping, as label and value."""
    backend = mapping["used_backend"] or mapping["backend"]
    return [
        ("Mapped to", f"{mapping['sdc']}, {'read-only' if mapping['read_only'] else 'read-write'}"),
        ("State", output.reason(mapping["state"], mapping["error"])),
        ("Device", " ".join([mapping["device"], old_size(mapping, volume_bytes)]).strip()),
        ("Link", mapping["link"]),
        ("NBD URI", mapping["uri"]),
        ("Backend", output.reason(backend, mapping["backend_reason"])),
    ]


verbs.rename(volume, "volumes", "a volume", "volume")
verbs.delete(
    volume,
    "volumes",
    "Delete a volume and every byte of it.",
    "volume",
    question="Delete volume {ref} and all its data?",
)


def _row(item: dict[str, Any]) -> tuple[object, ...]:
    return (
        item["name"],
        output.size(item["size_bytes"]),
        output.size(item["used_bytes"]),
        "thin" if item["thin"] else "thick",
        item["health"] if item["state"] == "ready" else item["state"],
        item["pool"],
        ", ".join(_where(mapping) for mapping in item["mappings"]) or "-",
    )


def old_size(mapping: dict[str, Any], volume_bytes: int) -> str:
    """What to say of a block device that was made before the volume grew; else empty.

    nbdfuse shows a file of the size that the volume had when it started, so the loop device over
    it cannot grow; it goes on working as it is.
    """
    shown = mapping["device_size_bytes"]
    if not 0 < shown < volume_bytes:
        return ""
    return f"still shows {output.size(shown)} until it is unmapped and mapped again"


def _kind(item: dict[str, Any]) -> str:
    return f"{output.size(item['size_bytes'])} {'thin' if item['thin'] else 'thick'}"


def _layout(item: dict[str, Any]) -> str:
    count = item["columns"]
    return f"{count} column{'' if count == 1 else 's'} x 2 copies"


def _wait_limit(seconds: float) -> str:
    return f"{seconds:g} s without a readable copy" if seconds else "none: I/O waits for ever"


def _where(mapping: dict[str, Any], long: bool = False) -> str:
    text = str(mapping["sdc"])
    if mapping["state"] != "attached":
        text += f" ({mapping['state']})"
    return f"{text} {mapping['device'] or mapping['uri']}" if long else text


def _copies(item: dict[str, Any]) -> dict[str, int]:
    ordered = sorted(one["state"] for one in item["replicas"])
    return {state: len(list(group)) for state, group in itertools.groupby(ordered)}


def _refusals(item: dict[str, Any]) -> list[tuple[str, str]]:
    """Where a copy is not served, and why; a device once, however many columns it has."""
    found = {f"{one['sds']} {one['device_path']}": one["error"] for one in item["replicas"]}
    return [(where, why) for where, why in found.items() if why]


def _done(job: dict[str, Any]) -> str:
    return output.percent(job["done_bytes"], job["total_bytes"])

"""``basalt job``: long work of the cluster, such as a resync."""

from typing import Any

import click

from appliance.cli import command, output, waiting
from appliance.cli.session import Session
from appliance.common import errors

_REF = command.Ref("jobs", "id")


@click.group(cls=command.Group)
def job() -> None:
    """Jobs: long work with progress."""


@job.command("list")
@click.option("--state", type=click.Choice(["running", "done", "failed", "cancelled"]))
@click.pass_obj
def list_(session: Session, state: str | None) -> None:
    """All jobs, or those of one state."""
    headings = ["id", "kind", "subject", "state", ">done", "started"]
    output.listed(session.json, session.items("jobs", state=state), headings, _row)


@job.command()
@click.argument("ref", type=_REF, metavar="ID")
@click.pass_obj
def show(session: Session, ref: str) -> None:
    """One job."""
    item = session.get("jobs", ref)
    output.shown(session.json, item, _details(item))


@job.command()
@click.argument("ref", type=_REF, metavar="ID")
@click.option("--limit", "limit_s", type=click.FloatRange(min=0), default=86400.0,
              metavar="SECONDS", help="Give up after this time. [default: a day]")  # fmt: skip
@click.pass_obj
def wait(session: Session, ref: str, limit_s: float) -> None:
    """Wait until a job is over; a progress bar on a terminal."""
    with output.progress() as bar:
        task = bar.add_task(f"job {ref}", total=None)

        def ask() -> dict[str, Any]:
            item: dict[str, Any] = session.get("jobs", ref)
            bar.update(
                task,
                description=f"{item['kind']} {item['subject']}",
                completed=item["done_bytes"],
                total=item["total_bytes"] or None,
            )
            return item

        item = waiting.until(
            ask, lambda seen: seen["state"] != "running", f"job {ref}", limit_s, quiet=True
        )
    output.shown(session.json, item, _details(item))
    if item["state"] != "done":
        raise errors.Conflict(why=f"job {ref} {item['state']}: {item['detail']}")


@job.command()
@click.argument("ref", type=_REF, metavar="ID")
@click.pass_obj
def cancel(session: Session, ref: str) -> None:
    """Stop a job that moves replicas; what has moved already stays where it is."""
    item = session.delete("jobs", ref)
    output.changed(session.json, item, f"job {ref} stops")


def _row(item: dict[str, Any]) -> tuple[object, ...]:
    return (
        item["id"],
        item["kind"],
        item["subject"],
        item["state"],
        output.percent(item["done_bytes"], item["total_bytes"]),
        output.moment(item["started_at"]),
    )


def _details(item: dict[str, Any]) -> list[tuple[str, object]]:
    done, total = item["done_bytes"], item["total_bytes"]
    amount = f"{output.size(done)} of {output.size(total)} ({output.percent(done, total)})"
    return [
        ("Id", item["id"]),
        ("Kind", item["kind"]),
        ("Subject", f"{item['subject_kind']} {item['subject']}"),
        ("State", item["state"]),
        ("Progress", amount if total else ""),
        ("Rate", f"{output.size(item['rate_bytes_s'])}/s" if item["rate_bytes_s"] else ""),
        ("Left", "" if item["left_s"] is None else f"about {item['left_s']:.0f} s"),
        ("Detail", item["detail"]),
        ("Started", output.moment(item["started_at"])),
        ("Finished", output.moment(item["finished_at"]) if item["finished_at"] else ""),
    ]

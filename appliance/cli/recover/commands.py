"""``basalt recover image`` and ``basalt recover mdm``: work on folders, and need no cluster."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from appliance.cli import command, output
from appliance.cli.recover import words
from appliance.cli.session import Session
from appliance.common import errors
from appliance.disk import choice, image, survey
from appliance.protocol import status

_FROM = click.option(
    "--from", "folders", type=click.Path(file_okay=False, path_type=Path), multiple=True,
    required=True, metavar="DIR",
    help="A device's folder, or a copy of it; several times.",
)  # fmt: skip
_ACCEPT = click.option(
    "--accept-older", is_flag=True,
    help="Go on though a device that is missing may hold newer data.",
)  # fmt: skip


@click.group(cls=command.Group)
def recover() -> None:
    """Get data back when the MDM or the whole cluster is lost: from the devices alone."""


@recover.command("image")
@_FROM
@click.option("--list", "listing", is_flag=True, help="Show the volumes found, do nothing.")
@click.option("--volume", "ref", help="The volume's id or name.")
@click.option("-o", "--output", "out", type=click.Path(path_type=Path), metavar="FILE",
              help="The image to make; it must not exist.")  # fmt: skip
@click.option("--compare", is_flag=True, help="Compare copies that should be equal.")
@_ACCEPT
@click.pass_obj
def image_(
    session: Session,
    /,
    folders: tuple[Path, ...],
    listing: bool,
    ref: str | None,
    out: Path | None,
    compare: bool,
    accept_older: bool,
) -> None:
    """Put a volume's bytes together in a file, from device folders alone.

    Nothing is written to the folders. Works on copies, and without any cluster.
    """
    found = survey.look(folders)
    for text in found.damaged:
        output.note(f"warning: {text}; it counts as not there")
    if listing:
        words.volumes(session.json, found)
        return
    if ref is None or out is None:
        raise click.UsageError("give --volume and -o, or --list")
    copies = _find(found, ref)
    chosen = choice.choose(copies)
    made = image.Image(chosen)
    if used := image.in_use(copies):
        raise errors.InUse(
            kind="volume", key=ref, why=f"a data server of this host has {used[0].folder} open, "
            "so its bytes may change; unmap the volume, or stop the SDS, first",
        )  # fmt: skip
    if not session.json:
        words.columns(chosen)
    _accept(chosen.doubts, accept_older)
    with output.progress() as bar:
        task = bar.add_task("copying", total=made.data_bytes())
        made.write(out, lambda count: bar.advance(task, count))
    differences = _compare(made) if compare else None
    answer = words.result(chosen, out, made.size, differences)
    output.changed(session.json, answer, words.sentence(answer, chosen, differences))
    if any(not one.marked for one in differences or ()):
        raise click.exceptions.Exit(status.meaning(errors.Damaged).exit)


@recover.command()
@_FROM
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), required=True,
              help="The MDM's data_dir, by default /var/lib/basalt/mdm.")  # fmt: skip
@_ACCEPT
@command.yes_option
@click.pass_obj
def mdm(
    session: Session, folders: tuple[Path, ...], data_dir: Path, accept_older: bool, yes: bool
) -> None:
    """Make a lost MDM's database again from the devices, while no MDM runs.

    Copies of the folders without their data files will do: bring them from all hosts to this
    one (tar --exclude=data --exclude=ballast). A database that is there is kept aside. Agents
    come back by themselves with the join token; clients map their volumes anew.
    """
    command.confirm(f"Make a new database in {data_dir}?", yes)
    # In a process of its own: only the MDM knows its database, and the CLI imports no role.
    argv = [sys.executable, "-m", "appliance.mdm", "recover", "--data-dir", str(data_dir)]
    for folder in folders:
        argv += ["--from", str(folder)]
    argv += ["--accept-older"] if accept_older else []
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise click.exceptions.Exit(done.returncode)  # it has said why on stderr
    answer = {"data_dir": str(data_dir), "lines": done.stdout.splitlines()}
    output.changed(session.json, answer, done.stdout.strip())


def _find(found: survey.Survey, ref: str) -> list[survey.Copy]:
    volumes = found.volumes()
    if ref in volumes:
        return volumes[ref]
    named = [ident for ident, copies in volumes.items() if words.name(copies) == ref]
    if len(named) > 1:
        raise errors.Conflict(
            why=f"several volumes are named {ref}: {', '.join(named)}; give one id"
        )
    if not named:
        raise errors.NotFound(kind="volume in these folders", key=ref,
                              next="look with --list")  # fmt: skip
    return volumes[named[0]]


def _accept(doubts: tuple[str, ...], accept_older: bool) -> None:
    for doubt in doubts:
        output.note(f"warning: {doubt}")
    if doubts and not accept_older:
        raise errors.Conflict(
            why="what is here may not be the newest (see the warnings above); nothing was written",
            next="give the folders of the missing devices too, or --accept-older to take what "
            "there is",
        )


def _compare(made: image.Image) -> list[image.Difference]:
    with output.progress() as bar:
        task: Any = bar.add_task("comparing", total=None)
        return made.compare(lambda count: bar.advance(task, count))

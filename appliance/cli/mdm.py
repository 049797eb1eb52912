"""``basalt mdm``: backup of a running MDM's database, and restore of a stopped one's."""

import subprocess
import sys
from pathlib import Path

import click

from appliance.cli import command, output
from appliance.cli.session import Session


@click.group(cls=command.Group)
def mdm() -> None:
    """The metadata manager: backup and restore of its database."""


@mdm.command()
@click.pass_obj
def backup(session: Session) -> None:
    """Copy the database of the running MDM, on its own disk, and check the copy."""
    made = session.post("backups", body={})
    text = f"wrote {made['path']} ({output.size(made['size_bytes'])}) on the MDM's host"
    output.changed(session.json, made, text + "; copy it to another host")


@mdm.command()
@click.pass_obj
def backups(session: Session) -> None:
    """Backups that lie on the MDM's disk."""
    output.listed(
        session.json,
        session.items("backups"),
        [">size", "path"],
        lambda item: (output.size(item["size_bytes"]), item["path"]),
        "none; make one: basalt mdm backup",
    )


@mdm.command()
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), required=True,
              help="The MDM's data_dir, by default /var/lib/basalt/mdm.")  # fmt: skip
@click.option("--from", "file", type=click.Path(dir_okay=False, path_type=Path), required=True,
              help="The backup.")  # fmt: skip
@command.yes_option
@click.pass_obj
def restore(session: Session, data_dir: Path, file: Path, yes: bool) -> None:
    """Put a backup in place of a stopped MDM's database; the old one is kept aside.

    Works on this host, without the MDM. Everything changed since the backup is forgotten.
    """
    command.confirm(f"Replace the database in {data_dir} by {file}?", yes)
    # In a process of its own: only the MDM knows its database, and the CLI imports no role.
    words = [sys.executable, "-m", "appliance.mdm", "restore"]
    words += ["--data-dir", str(data_dir), "--from", str(file)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise click.exceptions.Exit(done.returncode)  # it has said why on stderr
    answer = {"data_dir": str(data_dir), "from": str(file)}
    output.changed(session.json, answer, done.stdout.strip())

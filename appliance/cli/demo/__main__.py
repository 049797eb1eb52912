"""``python -m appliance.cli.demo up|down``; called by ``make demo`` and ``make demo-down``."""

import os
import shutil
import sys
from pathlib import Path

import click

from appliance.cli import command, failure, output
from appliance.cli.demo import story
from appliance.common import errors

_TOOLS = ("nbdkit", "nbdfuse", "mkfs.ext4", "mount", "umount", "losetup", "blockdev")

_DIR = click.option(
    "--dir",
    "directory",
    default=story.DEFAULT_DIR,
    show_default=True,
    type=click.Path(file_okay=False, resolve_path=True, path_type=Path),
)


@click.group()
def demo() -> None:
    """A mirrored volume, mounted, that loses a server and keeps its bytes."""


@demo.command()
@_DIR
@click.option("--source", default="/usr/lib", show_default=True, help="Tree of files to copy.",
              type=click.Path(file_okay=False, exists=True, path_type=Path))  # fmt: skip
@click.option("--size", type=command.Size(), default="2GiB", show_default=True, help="The volume.")
@click.option("--copy", "copy_bytes", type=command.Size(), default="256MiB", show_default=True,
              help="How much of the tree, at most.")  # fmt: skip
def up(directory: Path, source: Path, size: int, copy_bytes: int) -> None:
    """Tell the story, and leave the cluster running."""
    _check_host()
    story.Story(directory, source, size, copy_bytes).tell()


@demo.command()
@_DIR
def down(directory: Path) -> None:
    """Remove every trace of it."""
    _check_host()
    story.remove(directory)


def _check_host() -> None:
    if os.geteuid() != 0:
        raise errors.Unavailable(
            why="the demo mounts file systems and makes block devices, which needs root",
            next="run it as root, or call sudo",
        )
    os.environ["PATH"] += ":/usr/sbin:/sbin"  # not every root's PATH has them
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise errors.Unavailable(
            why=f"this host has no {', '.join(missing)}", next="make setup installs them"
        )


def main() -> None:
    output.ascii_where_needed()
    try:
        demo.main(standalone_mode=False)
    except BaseException as exc:  # noqa: BLE001 (the last border before the caller's shell)
        sys.exit(failure.report(exc, "demo", as_json=False))


if __name__ == "__main__":
    main()

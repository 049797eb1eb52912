"""The process ``basalt-mdm``: options, configuration, and an MDM until a signal ends it.

``basalt-mdm restore`` puts a backup in the place of a stopped MDM's database, ``basalt-mdm
recover`` makes a lost one again from the devices; the CLI calls both.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from appliance.common import clock
from appliance.common import config as configs
from appliance.mdm import app, config
from appliance.mdm.services import backup, lost_database
from appliance.rest import process


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes are those of ``protocol.status``: 7 means that the database is damaged."""
    given = _parser().parse_args(arguments)
    if given.command == "restore":
        return process.told("mdm", lambda: _restore(given.data_dir, given.source))
    if given.command == "recover":
        return process.told(
            "mdm", lambda: _recover(given.data_dir, given.folders, given.accept_older)
        )
    return process.main(
        "mdm", config.Config, lambda settings, stop: process.serve(settings, stop, app.Mdm), given
    )


def _restore(data_dir: Path, source: Path) -> None:
    aside = backup.restore(data_dir, source)
    kept = f"the one before is kept as {aside}" if aside else "there was none before"
    print(f"restored the database in {data_dir} from {source}; {kept}; now start the MDM")


def _recover(data_dir: Path, folders: Sequence[Path], accept_older: bool) -> None:
    done = lost_database.recover(data_dir, folders, accept_older, clock.SystemClock())
    for line in done.lines:
        print(line)
    kept = f"; the one before is kept as {done.aside}" if done.aside else ""
    print(f"made the database in {data_dir} again{kept}; now start the MDM")


def _parser() -> argparse.ArgumentParser:
    parser = configs.options("mdm", "Basalt's metadata manager")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="")
    restore = commands.add_parser("restore", help="put a backup in place while no MDM runs")
    restore.add_argument("--data-dir", type=Path, required=True, metavar="DIR")
    restore.add_argument("--from", dest="source", type=Path, required=True, metavar="FILE")
    recover = commands.add_parser("recover", help="make a lost database again from the devices")
    recover.add_argument("--data-dir", type=Path, required=True, metavar="DIR")
    recover.add_argument(
        "--from", dest="folders", type=Path, action="append", required=True, metavar="DEVICE-DIR"
    )
    recover.add_argument("--accept-older", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())

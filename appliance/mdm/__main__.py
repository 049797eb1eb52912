"""The process ``basalt-mdm``: options, configuration, and an MDM until a signal ends it.

``basalt-mdm restore`` puts a backup in the place of a stopped MDM's database, ``basalt-mdm
recover`` makes a lost one again from the devices; the CLI calls both.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from appliance.common import clock, daemon, errors, log
from appliance.common import config as configs
from appliance.mdm import app, config
from appliance.mdm.services import backup, lost_database
from appliance.protocol import status


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes are those of ``protocol.status``: 7 means that the database is damaged."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "restore":
            return _restore(options.data_dir, options.source)
        if options.command == "recover":
            return _recover(options.data_dir, options.folders, options.accept_older)
        settings = configs.load(config.Config, options.config_dir, options.set)
        if options.show_config:
            print(configs.show(settings))
            return 0
        return _run(settings)
    except errors.BasaltError as exc:
        print(f"basalt-mdm: {exc}", file=sys.stderr)
        return status.meaning(exc).exit


def _run(settings: config.Config) -> int:
    log.setup("mdm", settings.log_level)
    stop = daemon.stop_event_on_signals()
    try:
        mdm = app.Mdm(settings)
    except OSError as exc:
        raise errors.Unavailable(why=f"cannot start: {exc}") from exc
    try:
        daemon.run_until(stop, mdm.loop)
    finally:
        mdm.close()
    return 0


def _restore(data_dir: Path, source: Path) -> int:
    aside = backup.restore(data_dir, source)
    kept = f"the one before is kept as {aside}" if aside else "there was none before"
    print(f"restored the database in {data_dir} from {source}; {kept}; now start the MDM")
    return 0


def _recover(data_dir: Path, folders: Sequence[Path], accept_older: bool) -> int:
    done = lost_database.recover(data_dir, folders, accept_older, clock.SystemClock())
    for line in done.lines:
        print(line)
    kept = f"; the one before is kept as {done.aside}" if done.aside else ""
    print(f"made the database in {data_dir} again{kept}; now start the MDM")
    return 0


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

"""The process ``basalt-mgmt``: options, configuration, and MGMT until a signal ends it."""

import argparse
import errno
import logging
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from appliance.common import config as configs
from appliance.common import daemon, errors, log
from appliance.mgmt import app, config
from appliance.protocol import status

logger = logging.getLogger(__name__)

#: How often a taken port is tried again.
_AGAIN_S = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes are those of ``protocol.status``."""
    options = _parser().parse_args(arguments)
    try:
        settings = configs.load(config.Config, options.config_dir, options.set)
        if options.show_config:
            print(configs.show(settings))
            return 0
        return _run(settings)
    except errors.BasaltError as exc:
        print(f"basalt-mgmt: {exc}", file=sys.stderr)
        return status.meaning(exc).exit


def _run(settings: config.Config) -> int:
    log.setup("mgmt", settings.log_level)
    stop = daemon.stop_event_on_signals()
    mgmt = _started(settings, stop)
    if mgmt is None:
        return 0
    try:
        daemon.run_until(stop, mgmt.loop)
    finally:
        mgmt.close()
    return 0


def _started(settings: config.Config, stop: threading.Event) -> app.Mgmt | None:
    """Waits, saying so, while another program has the port; None if told to stop meanwhile."""
    told = False
    while not stop.is_set():
        try:
            return app.Mgmt(settings)
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                raise errors.Unavailable(why=f"cannot start: {exc}") from exc
            if not told:
                logger.warning(
                    "port_taken port=%d hint=end what has it (ss -ltnp names it), or set another "
                    "port; trying again until then",
                    settings.port,
                )
            told = True
        time.sleep(_AGAIN_S)  # not stop.wait, as in daemon.run_until
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="basalt-mgmt", description="Basalt's pages for people")
    parser.add_argument(
        "--config-dir",
        type=Path,
        default=Path("/etc/basalt/mgmt.d"),
        metavar="DIR",
        help="folder with configuration files *.conf (default: %(default)s)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override one setting; may be given several times",
    )
    parser.add_argument(
        "--show-config", action="store_true", help="print the settings in force and exit"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""``basalt-sds``: reads the command line and the configuration, then runs the agent."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from appliance.common import config as common_config
from appliance.common import daemon, errors, log
from appliance.protocol import status
from appliance.sds import app, config


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: see protocol.status."""
    parser = argparse.ArgumentParser(prog="basalt-sds", description="The SDS agent of Basalt.")
    parser.add_argument("--config-dir", type=Path, default=Path("/etc/basalt/sds.d"), metavar="DIR")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="sets")
    parser.add_argument("--show-config", action="store_true", help="print it and stop")
    given = parser.parse_args(argv)
    try:
        settings = common_config.load(config.Config, given.config_dir, given.sets)
        if given.show_config:
            print(common_config.show(settings))
            return 0
        log.setup("sds", settings.log_level)
        app.run(settings, daemon.stop_event_on_signals())
    except (errors.BasaltError, OSError) as exc:
        print(f"basalt-sds: {exc}", file=sys.stderr)
        return status.meaning(exc).exit
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The process ``basalt-mgmt``: options, configuration, and MGMT until a signal ends it."""

import sys
from collections.abc import Sequence

from appliance.common import config as configs
from appliance.mgmt import app, config
from appliance.rest import process


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes are those of ``protocol.status``."""
    given = configs.options("mgmt", "Basalt's pages for people").parse_args(arguments)
    return process.main(
        "mgmt", config.Config, lambda settings, stop: process.serve(settings, stop, app.Mgmt), given
    )


if __name__ == "__main__":
    sys.exit(main())

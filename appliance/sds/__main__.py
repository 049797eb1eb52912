"""``basalt-sds``: the SDS agent of this host."""

import sys
from collections.abc import Sequence

from appliance.agent import process
from appliance.sds import app, config


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: see protocol.status."""
    return process.main("sds", config.Config, app.run, argv)


if __name__ == "__main__":
    sys.exit(main())

"""``make failures``: how long I/O stands still when something fails, and what a failure costs.

A table of what was seen in this run, beside the aims of the design. Speed is no test: the tests
run the same code with small numbers and look at what must hold at any speed.
"""

import argparse
import sys
from collections.abc import Callable
from typing import Any

from tests.chaos import cluster, outages, recoveries
from tests.chaos.report import Row, table

MEASURES: dict[str, Callable[[cluster.NetCluster, Any], list[Row]]] = {
    "sds-killed": lambda on, given: outages.sds_killed(on, 1),
    "sds-killed-many": lambda on, given: outages.sds_killed(on, given.volumes),
    "host-gone": lambda on, given: outages.host_gone(on),
    "link-cut": lambda on, given: outages.link_cut(on, given.seconds),
    "mdm-down": lambda on, given: outages.mdm_down(on, given.seconds),
    "cold-start": lambda on, given: recoveries.cold_started(on, given.cold_starts),
    "rebuild": lambda on, given: recoveries.rebuilt(given.size),
    "client-killed": lambda on, given: recoveries.client_killed(on, given.times),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make failures", description=__doc__)
    parser.add_argument("--only", default=",".join(MEASURES), help="comma between")
    parser.add_argument("--volumes", type=int, default=200, help="mapped on the SDS killed")
    parser.add_argument("--times", type=int, default=50, help="the client is killed so often")
    parser.add_argument("--cold-starts", type=int, default=20, help="with each file system")
    parser.add_argument("--size", default="4G", help="of the volume that is rebuilt")
    parser.add_argument("--seconds", type=float, default=60.0, help="of a lasting fault")
    given = parser.parse_args()
    rows = []
    for name in given.only.split(","):
        with cluster.NetCluster() as on:
            try:
                found = MEASURES[name](on, given)
            except BaseException:
                print(f"{name}: logs in {on.keep_logs()}", flush=True)
                raise
        print(table(found), flush=True)
        rows += found
    print("\n" + table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())

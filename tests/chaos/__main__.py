"""``make chaos``: random faults for as long as is asked; a line for each round.

A finding ends it with exit code 1, the seed that repeats it, and the logs of every role kept.
"""

import argparse
import secrets
import sys
import time
import traceback

from tests.chaos import cluster, driver


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="stop after about this long")
    parser.add_argument("--seed", default="", help="repeats that seed's schedule; random if empty")
    parser.add_argument("--round-seconds", type=float, default=15.0)
    parser.add_argument("--rounds", type=int, default=5, help="of one seed, on one volume")
    parser.add_argument("--verbose", action="store_true", help="a line for each fault")
    wanted = parser.parse_args()
    ends_s = time.monotonic() + wanted.seconds
    seeds = rounds = 0
    with cluster.NetCluster(fragile=("sds3",)) as on:
        while time.monotonic() < ends_s:
            seed = wanted.seed or secrets.token_hex(4)
            seeds += 1
            print(f"seed {seed}", flush=True)
            try:
                run = driver.Run(on, seed, tell=print if wanted.verbose else driver.quiet)
                for number in range(1, wanted.rounds + 1):
                    print("  " + run.round(number, wanted.round_seconds).line(), flush=True)
                    rounds += 1
                run.finish()
            except Exception:  # noqa: BLE001 - whatever it is, it is what was looked for
                traceback.print_exc()
                print(f"FOUND with --seed {seed}; logs in {on.keep_logs()}", flush=True)
                return 1
            if wanted.seed:
                break
    print(f"{seeds} seeds, {rounds} rounds, no finding", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

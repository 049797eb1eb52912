"""How long it takes until a volume can be used again after its client died, or the power of every
host was cut, and until a lost replica is made again: for ``make failures``.
"""

import random
import subprocess
import sys

from tests.chaos import cluster, cold_start, deaths, host
from tests.chaos.report import Row


def client_killed(on: cluster.NetCluster, times: int) -> list[Row]:
    """Each time in mid-write; mapped again elsewhere, at home, or by its own agent."""
    run = deaths.ClientDeaths(on, random.Random(times))
    took: dict[str, list[float]] = {}
    for number in range(times):
        how, seconds = run.once(deaths.WAYS[number % len(deaths.WAYS)])
        took.setdefault(how, []).append(seconds)
    run.finish()
    return [
        Row(
            f"client killed in mid-write, {how}, {len(all_s)} times",
            f"new map after {sorted(all_s)[len(all_s) // 2]:.2f} s (longest {max(all_s):.2f} s); "
            "copies identical each time, nothing lost",
            "< 2 s",
        )
        for how, all_s in sorted(took.items())
    ]


def cold_started(on: cluster.NetCluster, times: int) -> list[Row]:
    """Power of every host cut while files are written; ext4, then XFS."""
    rows = []
    for kind in ("ext4", "xfs"):
        tried = cold_start.ColdStart(on, kind)
        took = sorted(tried.once() for _ in range(times))
        tried.finish()
        rows.append(
            Row(
                f"power of every host cut while writing, {kind}, {times} times",
                f"checked after {took[len(took) // 2]:.1f} s (longest {took[-1]:.1f} s); file "
                "system clean, every fsynced file whole",
            )
        )
    return rows


def rebuilt(size: str) -> list[Row]:
    """A replica made elsewhere beside nbdcopy, a return after a short absence, and what an
    application feels: ``tests.bench`` has a table of its own for it, printed as it is."""
    subprocess.run(
        [sys.executable, "-m", "tests.bench", "--only", "rebuild", "--size", size],
        cwd=host.REPOSITORY, check=True, timeout=1800,
    )  # fmt: skip
    return []

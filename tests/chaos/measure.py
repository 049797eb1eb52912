"""``make failures``: how long I/O stands still when something fails, and what a failure costs.

A table of what was seen in this run, beside the aims of the design. Speed is no test: the tests
run the same code with small numbers and look at what must hold at any speed.
"""

import argparse
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import nbd

from tests.chaos import cluster, cold_start, deaths, driver, network, workload

MIB = 1 << 20
_SIZE = 24 * MIB
_COLUMNS = 3
_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    what: str
    seen: str
    aim: str = ""


class Prober(threading.Thread):
    """Writes and reads a block of every column, over and over; keeps the longest of each."""

    def __init__(self, path: str, columns: int, pause_s: float, kinds: str = "wr") -> None:
        super().__init__(name="prober", daemon=True)
        self.longest_write_s = 0.0
        self.longest_read_s = 0.0
        self.done = 0
        self.error: BaseException | None = None
        self._kinds = kinds
        self._columns = columns
        self._pause_s = pause_s
        self._handle = workload.connect(path)
        self._stop_asked = threading.Event()

    def run(self) -> None:
        try:
            while not self._stop_asked.wait(self._pause_s):
                self._round()
            self._handle.shutdown()
        except nbd.Error as exc:
            self.error = exc

    def _round(self) -> None:
        for column in range(self._columns):
            if "w" in self._kinds:
                began = time.monotonic()
                self._handle.pwrite(self.done.to_bytes(8, "big") * 512, column * MIB)
                self.longest_write_s = max(self.longest_write_s, time.monotonic() - began)
            if "r" in self._kinds:
                began = time.monotonic()
                self._handle.pread(_BLOCK, column * MIB + _BLOCK)
                self.longest_read_s = max(self.longest_read_s, time.monotonic() - began)
        self.done += 1

    def stop(self) -> None:
        self._stop_asked.set()
        self.join(120)
        if self.is_alive():
            raise driver.Finding("I/O did not go on")
        if self.error is not None:
            raise driver.Finding(f"I/O failed: {self.error}")


@contextmanager
def probed(on: cluster.NetCluster, volumes: int = 1, sdc: str = "sdc1") -> Iterator[list[Prober]]:
    """``volumes`` new ones, each mapped and written and read all the time; gone afterwards."""
    names = [f"probe-{number}" for number in range(volumes)]
    for name in names:
        on.create(name, _SIZE, columns=_COLUMNS, wait_limit_s=0)
        on.map(name, sdc)
    paths = [on.socket(name, sdc, 300) for name in names]
    pause_s = 0.002 if volumes == 1 else volumes / 100
    probers = [Prober(path, _COLUMNS, pause_s, kinds) for path in paths for kinds in ("w", "r")]
    for prober in probers:
        prober.start()
    try:
        on_all(probers, 2)
        yield probers
        for prober in probers:
            prober.stop()
    finally:
        for prober in probers:
            prober._stop_asked.set()
    for name in names:
        on.wait_healthy(name, 300)
        on.unmap(name, sdc)
    cluster.wait(
        lambda: [m for v in on.call("get", "/volumes")["items"] for m in v["mappings"]],
        lambda left: left == [],
        "all to be unmapped",
        300,
    )
    for name in names:
        on.call("delete", f"/volumes/{name}")


def on_all(probers: list[Prober], rounds: int, limit_s: float = 300.0) -> float:
    """Wait until each prober has done so many more rounds; how long that took."""
    began = time.monotonic()
    wanted = [prober.done + rounds for prober in probers]
    cluster.wait(
        lambda: all(p.done >= w or p.error for p, w in zip(probers, wanted, strict=True)),
        bool,
        "I/O on every volume to go on",
        limit_s,
    )
    return time.monotonic() - began


def _stalls(probers: list[Prober]) -> str:
    write_s = max(prober.longest_write_s for prober in probers)
    read_s = max(prober.longest_read_s for prober in probers)
    return f"longest write {write_s:.2f} s, read {read_s:.2f} s"


def _reset(probers: list[Prober]) -> None:
    for prober in probers:
        prober.longest_write_s = prober.longest_read_s = 0.0


def sds_killed(on: cluster.NetCluster, volumes: int) -> list[Row]:
    """The SDS's agent gets SIGKILL; its data servers end with it."""
    with probed(on, volumes) as probers:
        before_s = _stalls(probers)
        _reset(probers)
        on.kill("sds2")
        went_on_s = on_all(probers, 2)
        row = Row(
            f"SDS killed, {volumes} mapped volumes",
            f"{_stalls(probers)}; all going after {went_on_s:.2f} s (before: {before_s})",
            "write < 1 s, read < 0.1 s" if volumes == 1 else "all going < 5 s",
        )
        on.start("sds2")
    return [row]


def host_gone(on: cluster.NetCluster, _volumes: int) -> list[Row]:
    """The SDS's host falls silent: its cable is pulled at the switch."""
    with probed(on) as probers:
        _reset(probers)
        on.pull_cable("sds2")
        on_all(probers, 20)
        row = Row("SDS host silently gone", _stalls(probers), "< 4 s")
        on.pull_cable("sds2", False)
    return [row]


def link_cut(on: cluster.NetCluster, seconds: float) -> list[Row]:
    """Nothing passes between the client and one SDS; both have everybody else."""
    with probed(on) as probers:
        _reset(probers)
        before = on.volume("probe-0")
        address = cluster.ADDRESSES["sds2"]
        network.drop(on.hosts["sdc1"], f"ip saddr {address} drop")
        network.drop_out(on.hosts["sdc1"], f"ip daddr {address} drop")
        on_all(probers, 20)
        _pass(seconds)
        after = on.volume("probe-0")
        stall = _stalls(probers)
        network.drop(on.hosts["sdc1"], "")
        network.drop_out(on.hosts["sdc1"], "")
    stale = sorted({r["sds"] for r in after["replicas"] if r["state"] == "stale"})
    turns = after["generation"] - before["generation"]
    return [
        Row(
            f"one client-SDS link cut for {seconds:.0f} s",
            f"{stall}; {turns} turns, replicas of {', '.join(stale) or 'nobody'} lost",
            "one replica lost, no second turn",
        )
    ]


def mdm_down(on: cluster.NetCluster, seconds: float) -> list[Row]:
    with probed(on) as probers:
        on_all(probers, 200)
        before = _stalls(probers)
        _reset(probers)
        on.kill(cluster.MDM)
        _pass(seconds)
        row = Row(
            f"MDM down for {seconds:.0f} s",
            f"{_stalls(probers)}, no error (before: {before})",
            "no error, no stall",
        )
        on.start(cluster.MDM)
    return [row]


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


def _pass(seconds: float) -> None:
    """Time that I/O shall have to go wrong in."""
    threading.Event().wait(seconds)


MEASURES: dict[str, Callable[[cluster.NetCluster, Any], list[Row]]] = {
    "sds-killed": lambda on, given: sds_killed(on, 1),
    "sds-killed-many": lambda on, given: sds_killed(on, given.volumes),
    "host-gone": lambda on, given: host_gone(on, 1),
    "link-cut": lambda on, given: link_cut(on, given.seconds),
    "mdm-down": lambda on, given: mdm_down(on, given.seconds),
    "cold-start": lambda on, given: cold_started(on, given.times),
    "client-killed": lambda on, given: client_killed(on, given.times),
}


def table(rows: list[Row]) -> str:
    widths = [max(len(getattr(row, key)) for row in rows) for key in ("what", "seen")]
    return "\n".join(
        f"{row.what:<{widths[0]}}  {row.seen:<{widths[1]}}  {row.aim}".rstrip() for row in rows
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="make failures", description=__doc__)
    parser.add_argument("--only", default=",".join(MEASURES), help="comma between")
    parser.add_argument("--volumes", type=int, default=200, help="mapped on the SDS killed")
    parser.add_argument("--times", type=int, default=50, help="the client is killed so often")
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

"""I/O that runs while something fails, and how long it stood still: for ``make failures``."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import nbd

from tests.chaos import cluster, driver, workload

MIB = 1 << 20
_SIZE = 24 * MIB
_COLUMNS = 3
_BLOCK = 4096


class Prober(threading.Thread):
    """Writes and reads a block of every column, over and over; keeps the longest of each."""

    def __init__(
        self, volume: str, path: str, columns: int, pause_s: float, kinds: str = "wr"
    ) -> None:
        super().__init__(name="prober", daemon=True)
        self.volume = volume
        self.longest_write_s = 0.0
        self.longest_read_s = 0.0
        self.done = 0
        #: when the newest round that is done began, and when ``go`` was called last: on the
        #: monotonic clock
        self.began = 0.0
        self.told_to_go = 0.0
        self.error: BaseException | None = None
        self._kinds = kinds
        self._columns = columns
        self._pause_s = pause_s
        self._handle = workload.connect(path)
        self._stopping = False
        self._next = threading.Event()

    def run(self) -> None:
        try:
            while not self._stopping:
                began = time.monotonic()
                self._round()
                self.done += 1
                self.began = began
                self._next.wait(self._pause_s)
                self._next.clear()
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

    def go(self) -> None:
        """Begin the next round now; see ``all_going``."""
        self.told_to_go = time.monotonic()
        self._next.set()

    def ask_to_stop(self) -> None:
        self._stopping = True
        self._next.set()

    def stop(self) -> None:
        self.ask_to_stop()
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
    paths = {name: on.socket(name, sdc, 300) for name in names}
    pause_s = 0.002 if volumes == 1 else volumes / 100
    probers = [
        Prober(name, path, _COLUMNS, pause_s, kinds)
        for name, path in paths.items()
        for kinds in ("w", "r")
    ]
    for prober in probers:
        prober.start()
    try:
        on_all(probers, 2)
        yield probers
        for prober in probers:
            prober.stop()
    finally:
        for prober in probers:
            prober.ask_to_stop()
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


def all_going(probers: list[Prober], limit_s: float = 300.0) -> None:
    """Wait until each has done a round, of every column, that it began after ``go``."""
    cluster.wait(
        lambda: all(prober.began >= prober.told_to_go or prober.error for prober in probers),
        bool,
        "I/O on every volume to go on",
        limit_s,
    )


def stalls(probers: list[Prober]) -> str:
    write_s = max(prober.longest_write_s for prober in probers)
    read_s = max(prober.longest_read_s for prober in probers)
    return f"longest write {write_s:.2f} s, read {read_s:.2f} s"


def reset(probers: list[Prober]) -> None:
    for prober in probers:
        prober.longest_write_s = prober.longest_read_s = 0.0

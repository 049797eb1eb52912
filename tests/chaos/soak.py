"""``make soak``: a cluster that works and is bounced for a long time, and must not grow.

A cluster on this host; volumes are made, mapped, used, unmapped and deleted, SDSs are killed and
come back, I/O goes on all the while. What each process holds is counted after the first tenth and
at the end, both times at rest with the same volumes, and printed side by side.
"""

import argparse
import contextlib
import random
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbd

from appliance.cli.local import processes
from tests.integration import local_cluster

MIB = 1 << 20
_SIZE = 32 * MIB
_STAYS = "stays"

#: What may be there at the end that was not after the first tenth: pools of threads and pages that
#: fill up once, an allocator's own.
_SLACK = {
    "memory MiB": 24,
    "descriptors": 8,
    "threads": 6,
    "server processes": 0,
    "plugin processes": 0,
    "listening ports": 0,
    "intent files": 0,
    "database KiB": 64,
}


@dataclass(frozen=True, slots=True)
class Count:
    """One figure of one process, or of the whole cluster."""

    whose: str
    what: str
    value: int


class Soak:
    """``cluster`` is up."""

    def __init__(self, cluster: local_cluster.LocalCluster, seed: str) -> None:
        self._cluster = cluster
        self._chance = random.Random(seed)
        self._numbers = 0
        self.volumes = 0
        self.bounces = 0
        self.operations = 0
        self._error: BaseException | None = None
        self._stop_asked = threading.Event()
        self._uri = self._mapped(_STAYS)

    def run(self, seconds: float) -> list[tuple[Count, Count]]:
        """(after the first tenth, at the end) of every figure."""
        with self._io():
            self._work(seconds / 10)
        first = self._counts()
        with self._io():
            self._work(seconds - seconds / 10)
        last = {(count.whose, count.what): count for count in self._counts()}
        return [(count, last[count.whose, count.what]) for count in first]

    # --- work ------------------------------------------------------------------------------

    def _work(self, seconds: float) -> None:
        """At least one of everything; then as much as the time allows."""
        ends_s = time.monotonic() + seconds
        while True:
            self._bounce()
            for _ in range(3):
                self._live_and_die()
            if self._error is not None:
                raise self._error
            if time.monotonic() >= ends_s:
                break
        self._rest()

    def _bounce(self) -> None:
        """An SDS is killed and comes back; sometimes the MDM or the SDC's agent too."""
        name = self._chance.choice(("sds1", "sds2", "sds3", "sds1", "sds2", "sds3", "mdm", "sdc1"))
        self._cluster.kill(name)
        self._cluster.up()
        self._cluster.wait_healthy(_STAYS, 300)
        self.bounces += 1

    def _live_and_die(self) -> None:
        self._numbers += 1
        name = f"v{self._numbers}"
        handle = _connect(self._mapped(name))
        for _ in range(20):
            handle.pwrite(
                self._chance.randbytes(4096), self._chance.randrange(_SIZE // 4096) * 4096
            )
        handle.flush()
        handle.shutdown()
        self._cluster.cli("volume", "unmap", name)
        self._cluster.cli("volume", "delete", name)
        self.volumes += 1

    def _mapped(self, name: str) -> str:
        # However long a busy machine takes for a turn: what may grow is looked at, not how long.
        self._cluster.cli("volume", "create", name, "--size", str(_SIZE), "--wait-limit", "0")
        self._cluster.cli("volume", "map", name, "--sdc", "sdc1", "--backend", "none")
        return str(self._cluster.cli("volume", "show", name)["mappings"][0]["uri"])

    @contextlib.contextmanager
    def _io(self) -> Iterator[None]:
        """A thread writes and reads the volume that stays, until the end of this."""
        self._stop_asked.clear()
        thread = threading.Thread(target=self._use, name="soak-io")
        thread.start()
        try:
            yield
        finally:
            self._stop_asked.set()
            thread.join(120)
        if self._error is not None:
            raise self._error

    def _use(self) -> None:
        chance = random.Random(1)
        try:
            handle = _connect(self._uri)
            while not self._stop_asked.wait(0.005):
                at = chance.randrange(_SIZE // 4096) * 4096
                data = chance.randbytes(4096)
                handle.pwrite(data, at)
                if handle.pread(4096, at) != data:
                    raise AssertionError(f"what was read at {at} is not what was written")
                self.operations += 2
            handle.shutdown()
        except BaseException as exc:  # noqa: BLE001 - raised again by whoever waits
            self._error = exc

    # --- rest and count ----------------------------------------------------------------------

    def _rest(self) -> None:
        """Every deleted volume is gone, every copy done."""
        local_cluster.wait(
            lambda: [volume["name"] for volume in self._cluster.cli("volume", "list")],
            lambda names: names == [_STAYS],
            "only the volume that stays to be left",
        )
        self._cluster.wait_healthy(_STAYS, 300)

    def _counts(self) -> list[Count]:
        """At rest: whatever ends by itself, in its own time, has ended."""
        local_cluster.wait(
            lambda: (len(self._of("exportname-list")), len(self._of("incarnation="))),
            lambda found: found == (3, 1),
            "one data server for each SDS and one plugin to be left",
        )
        found = []
        for name in self._cluster.state.names:
            pid = self._cluster.state.processes[name].pid
            found += _of_process(name, pid)
        (plugin,) = self._of("incarnation=")
        found += _of_process("plugin", plugin)
        folders = [path / "volumes" for path in self._cluster.device_dirs]
        marks = [file for folder in folders for file in folder.glob("*/intent.*")]
        found += [
            Count("cluster", "server processes", len(self._of("exportname-list"))),
            Count("cluster", "plugin processes", len(self._of("incarnation="))),
            Count("cluster", "listening ports", self._listening()),
            Count("cluster", "intent files", len(marks)),
            Count("cluster", "database KiB", self._database_bytes() >> 10),
        ]
        return found

    def _database_bytes(self) -> int:
        """Of the MDM's, without the history: that is kept for a set time, and grows till then."""
        path = self._cluster.directory / "mdm" / "mdm.db"
        with (
            contextlib.closing(sqlite3.connect(path, timeout=30)) as database,
            contextlib.closing(sqlite3.connect(":memory:")) as copy,
        ):
            database.backup(copy)
            copy.execute("DELETE FROM events")
            copy.execute("DELETE FROM jobs WHERE finished_at IS NOT NULL")
            copy.commit()
            copy.execute("VACUUM")
            pages, size = (copy.execute(f"PRAGMA {word}").fetchone()[0]
                           for word in ("page_count", "page_size"))  # fmt: skip
            return int(pages) * int(size)

    def _of(self, word: str) -> list[int]:
        """Pids of this cluster's processes with ``word`` in their command line."""
        found = []
        for pid in self._pids():
            with contextlib.suppress(OSError):
                if word in Path(f"/proc/{pid}/cmdline").read_text("utf-8", "replace"):
                    found.append(pid)
        return found

    def _pids(self) -> list[int]:
        """The cluster's daemons and what they started: data servers do not inherit the mark."""
        marked = [one.pid for one in processes.marked(self._cluster.state.id)]
        below = []
        for pid in marked:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    below += [int(word) for word in children.read_text(encoding="ascii").split()]
        return list(dict.fromkeys(marked + below))

    def _listening(self) -> int:
        """TCP ports that a process of this cluster listens at."""
        inodes = set()
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A":
                    inodes.add(f"socket:[{fields[9]}]")
        held = set()
        for pid in self._pids():
            with contextlib.suppress(OSError):
                for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                    with contextlib.suppress(OSError):
                        held.add(str(descriptor.readlink()))
        return len(inodes & held)


def _connect(uri: str) -> nbd.NBD:
    handle = nbd.NBD()
    handle.connect_uri(uri)
    return handle


def _of_process(name: str, pid: int) -> list[Count]:
    folder = Path(f"/proc/{pid}")
    status = dict(
        line.split(":", 1) for line in (folder / "status").read_text("utf-8").splitlines()
    )
    return [
        Count(name, "memory MiB", int(status["VmRSS"].split()[0]) >> 10),
        Count(name, "descriptors", len(list((folder / "fd").iterdir()))),
        Count(name, "threads", int(status["Threads"])),
    ]


def grown(pairs: list[tuple[Count, Count]]) -> list[str]:
    """What is not back to where it was after the first tenth."""
    return [
        f"{before.whose}: {before.what} {before.value} → {after.value}"
        for before, after in pairs
        if after.value > before.value + _SLACK[before.what]
    ]


def table(pairs: list[tuple[Count, Count]]) -> str:
    lines = [f"{'':8}{'':18}{'first tenth':>12}{'end':>8}"]
    for before, after in pairs:
        lines.append(f"{before.whose:8}{before.what:18}{before.value:>12}{after.value:>8}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", default="soak")
    given = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="basalt-soak-", dir="/dev/shm"))
    cluster = local_cluster.LocalCluster(work / "cluster")
    try:
        cluster.up()
        soak = Soak(cluster, given.seed)
        pairs = soak.run(60 * given.minutes)
        print(table(pairs))
        print(
            f"{soak.volumes} volumes lived and died, {soak.bounces} bounces, "
            f"{soak.operations} reads and writes meanwhile"
        )
        more = grown(pairs)
        print("\n".join(["GROWN:", *more]) if more else "nothing grew")
        return 1 if more else 0
    except BaseException:
        logs = Path(tempfile.mkdtemp(prefix="basalt-soak-logs-"))
        for name, text in cluster.logs().items():
            (logs / f"{name}.log").write_text(text, encoding="utf-8")
        print(f"FAILED; logs in {logs}", flush=True)
        raise
    finally:
        cluster.remove()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())

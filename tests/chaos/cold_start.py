"""The power of the whole cluster goes while files are written, again and again; what was fsynced
is whole on the file system that is found after each cold start.
"""

import random
import sys
import time
from pathlib import Path

from tests.chaos import cluster, driver

_BYTES = 352 << 20

#: Run on the client's host: makes file after file; a line in JOURNAL says which are safe.
_WRITER = """
import os, random, sys
folder, journal = sys.argv[1:3]
number = int(sys.argv[3])
lines = open(journal, "a", buffering=1)
while True:
    name = f"{folder}/{number}"
    with open(name, "wb") as file:
        file.write(random.Random(number).randbytes(random.Random(-number).randrange(1, 300_000)))
        file.flush()
        os.fsync(file.fileno())
    directory = os.open(folder, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
    print(number, file=lines)
    number += 1
    if number > 40:
        os.unlink(f"{folder}/{number - 40}")
        print(-(number - 40), file=lines)
"""

_MAKE = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q", "-f"]}
_CHECK = {"ext4": ["e2fsck", "-f", "-n"], "xfs": ["xfs_repair", "-n"]}


class ColdStart:
    """A volume with a file system of ``kind``, on the first client."""

    def __init__(self, on: cluster.NetCluster, kind: str) -> None:
        self._on = on
        self._kind = kind
        self._name = f"{on.directory.name}-{kind}"  # of its loop device too: see finaliser
        self._mount = Path("/run/fs")
        self._journal = on.directory / f"{self._name}.journal"
        self._journal.touch()
        on.create(self._name, _BYTES, columns=3)
        on.call("post", f"/volumes/{self._name}/mappings", {"sdc": "sdc1", "backend": "fuse"})
        self._run(*_MAKE[kind], self._device())

    def once(self) -> float:
        """Write, lose everything, start, look; the seconds from power to all checked."""
        self._write_for_a_while()
        for name in cluster.SDSS:
            self._on.power_cut(name)
        for name in (cluster.MDM, *cluster.SDCS):
            self._on.power_off(name)
        began = time.monotonic()
        for name in cluster.HOSTS:
            self._on.power_on(name)
        device = self._device()
        self._mount_it(device)
        whole = self._check_files()
        self._run("umount", str(self._mount))
        self._run(*_CHECK[self._kind], device)
        if not whole:
            raise driver.Finding("no file was safe before the power went: nothing was shown")
        return time.monotonic() - began

    def finish(self) -> None:
        self._on.unmap(self._name, "sdc1")
        cluster.wait(
            lambda: self._on.volume(self._name)["mappings"], lambda left: left == [], "unmapped"
        )
        self._on.call("delete", f"/volumes/{self._name}")

    def _device(self) -> str:
        def _found() -> str:
            mappings = self._on.volume(self._name)["mappings"]
            good = [m["device"] for m in mappings if m["state"] == "attached" and m["device"]]
            if not good or not self._on.alive("sdc1"):
                return ""
            # What the MDM heard last may be of before the start.
            lives = any("nbdfuse" in line for line in self._on.hosts["sdc1"].processes())
            return str(good[0]) if lives else ""

        return cluster.wait(_found, bool, "the block device", 120)

    def _mount_it(self, device: str) -> None:
        self._run("mkdir", "-p", str(self._mount))
        self._run("mount", device, str(self._mount))

    def _write_for_a_while(self) -> None:
        self._mount_it(self._device())
        before = len(self._lines())
        first = max([0, *(number for number in self._lines())]) + 1
        self._on.hosts["sdc1"].start(
            "writer",
            [sys.executable, "-c", _WRITER, str(self._mount), str(self._journal), str(first)],
            self._on.log("writer"),
        )
        cluster.wait(
            lambda: len(self._lines()), lambda count: count > before + 60, "files to be written"
        )

    def _lines(self) -> list[int]:
        text = self._journal.read_text(encoding="ascii")
        return [int(line) for line in text[: text.rfind("\n") + 1].split()]

    def _check_files(self) -> int:
        """How many files that were safe were looked at."""
        safe = set()
        for number in self._lines():
            if number > 0:
                safe.add(number)
            else:
                safe.discard(-number)
        for number in safe:
            path = self._on.hosts["sdc1"].path(self._mount) / str(number)
            size = random.Random(-number).randrange(1, 300_000)
            if number == min(safe) and not path.exists():
                continue  # its removal may be done and not yet written down
            if path.read_bytes() != random.Random(number).randbytes(size):
                raise driver.Finding(f"file {number} was fsynced and is not whole")
        return len(safe)

    def _run(self, *argv: str) -> None:
        self._on.hosts["sdc1"].run(argv)

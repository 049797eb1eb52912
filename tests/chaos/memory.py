"""A memory control group for each host of the chaos cluster, so that its memory can be bounded.

Control groups have names and outlive their processes: those of runs that were killed are removed
by the next run.
"""

import contextlib
import time
from pathlib import Path

_VERSION_1 = Path("/sys/fs/cgroup/memory")
_PREFIX = "basalt-chaos-"


class Groups:
    """``run`` tells those of this run from others'."""

    def __init__(self, run: str) -> None:
        self._run = run if run.startswith(_PREFIX) else _PREFIX + run
        for left_over in _VERSION_1.glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):  # in use
                left_over.rmdir()

    def admit(self, name: str, pid: int) -> None:
        """The process, and whatever it starts from now on, belongs to the host's group."""
        folder = self._folder(name)
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def limit(self, name: str, size: int) -> None:
        """Bound the memory of the host's processes and of their page cache; -1: no bound."""
        (self._folder(name) / "memory.limit_in_bytes").write_text(str(size), encoding="ascii")

    def remove(self) -> None:
        """Once every host is off."""
        deadline = time.monotonic() + 10
        for folder in _VERSION_1.glob(f"{self._run}*"):
            while folder.exists() and time.monotonic() < deadline:
                try:
                    folder.rmdir()
                except OSError:
                    time.sleep(0.02)

    def _folder(self, name: str) -> Path:
        return _VERSION_1 / f"{self._run}-{name}"

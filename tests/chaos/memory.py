"""A memory control group for each host of the chaos cluster, so that its memory can be bounded.

Control groups outlive their processes: ``finaliser`` removes them by the run's name.
"""

from pathlib import Path

_VERSION_1 = Path("/sys/fs/cgroup/memory")


class Groups:
    """``run`` tells those of this run from others'."""

    def __init__(self, run: str) -> None:
        self._run = run

    def admit(self, name: str, pid: int) -> None:
        """The process, and whatever it starts from now on, belongs to the host's group."""
        folder = self._folder(name)
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def limit(self, name: str, size: int) -> None:
        """Bound the memory of the host's processes and of their page cache; -1: no bound."""
        (self._folder(name) / "memory.limit_in_bytes").write_text(str(size), encoding="ascii")

    def _folder(self, name: str) -> Path:
        return _VERSION_1 / f"{self._run}-{name}"

"""A host of the chaos cluster: pid, mount, network and host-name namespaces, with a first process.

Nothing of it has a name outside: when the first process ends (``power_off``, or the end of
whoever made it) its processes, mounts and network devices are gone.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]

#: Mounts what the host has of its own, then becomes its first process.
_BOOT = """\
hostname "$1" && mount -t tmpfs -o size=64m,mode=755 tmpfs /run || exit 1
shift
while [ "$1" != -- ]; do mount -o loop "$1" "$2" || exit 1; shift 2; done
shift
exec "$@"
"""


class Host:
    """On while it exists; ``mounts`` are (image, directory) pairs, mounted on this host only."""

    def __init__(self, name: str, mounts: Sequence[tuple[Path, Path]] = ()) -> None:
        self.name = name
        words = [str(word) for pair in mounts for word in pair]
        self._process = subprocess.Popen(
            ["unshare", "--pid", "--mount", "--net", "--uts", "--fork", "--kill-child",
             "--mount-proc", "--propagation", "private",
             "/bin/sh", "-c", _BOOT, "boot", name, *words, "--",
             sys.executable, "-m", "tests.chaos.host_init"],
            cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        self._answer()
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        #: of the first process, as this process sees it
        self.pid = int(children.read_text(encoding="ascii").split()[0])

    def start(
        self,
        name: str,
        argv: Sequence[str],
        log: Path,
        env: Mapping[str, str] | None = None,
        files: int = 0,
        nice: int = 0,
    ) -> None:
        """Start a process known as ``name`` from now on, its output appended to ``log``."""
        environ = {**os.environ, "PYTHONPATH": _python_path(), "PYTHONUNBUFFERED": "1"}
        self._ask(
            do="start", name=name, argv=list(argv), env={**environ, **(env or {})}, log=str(log),
            files=files, nice=nice,
        )  # fmt: skip

    def run(self, argv: Sequence[str], limit_s: float = 120.0) -> str:
        """Run a program on the host to its end; what it printed. Raises RuntimeError."""
        done = subprocess.run(
            ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--net", "--uts", *argv],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=limit_s, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{' '.join(argv)} on {self.name}: {done.stdout[-2000:]}")
        return done.stdout

    def signal(self, name: str, number: int) -> bool:
        """Signal the process ``name``; false if it does not run."""
        return bool(self._ask(do="signal", name=name, number=int(number)))

    def signal_all(self, number: int) -> None:
        """Signal every process of the host."""
        self._ask(do="signal_all", number=int(number))

    def signal_matching(self, words: Sequence[str], number: int) -> int:
        """Signal every process whose command line has all ``words``; how many those were."""
        return int(self._ask(do="signal_matching", words=list(words), number=int(number)))

    def alive(self, name: str) -> bool:
        return bool(self._ask(do="alive", name=name))

    def processes(self) -> list[str]:
        """The command line of every process."""
        return [line for _pid, line in self.numbered()]

    def numbered(self) -> list[tuple[int, str]]:
        """(pid on the host, command line) of every process."""
        return [(pid, line) for pid, line in self._ask(do="processes")]

    def path(self, inside: Path | str) -> Path:
        """``inside``, a path of this host, as a path here."""
        return Path(f"/proc/{self.pid}/root") / str(inside).lstrip("/")

    def power_off(self) -> None:
        """Everything on the host ends at once. Returns when it has."""
        self._process.kill()  # --kill-child: the first process goes with it
        self._process.wait(30)
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        _await_end(self.pid)

    def _ask(self, **request: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"host {self.name} is off (exit {self._process.wait(10)})")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"host {self.name}: {answer['error']}")
        return answer["answer"]


def _await_end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            import select

            select.select([descriptor], [], [], 30)
        finally:
            os.close(descriptor)


def _python_path() -> str:
    given = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(REPOSITORY), *([given] if given else [])])

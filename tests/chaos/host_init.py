"""The first process of a host of the chaos cluster: starts what it is told to, reaps, reports.

Run by ``host.Host`` as pid 1 of namespaces of its own; one JSON object a line on stdin, one answer
a line on stdout. When its input ends (whoever made the host is gone, however) it exits, and the
kernel kills everything in its pid namespace and takes its mounts and its network away.
"""

import contextlib
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

_SELF = 1


class Init:
    """``do_<verb>`` for each request's ``do``."""

    def __init__(self) -> None:
        self._pids: dict[str, int] = {}

    def do_start(
        self, name: str, argv: list[str], env: dict[str, str], log: str, files: int, nice: int
    ) -> int:
        """Start ``argv`` in a session of its own; ``files``: RLIMIT_NOFILE, 0 for as it is."""
        pid = os.fork()
        if pid == 0:
            try:
                _exec(argv, env, log, files, nice)
            finally:
                os._exit(127)
        self._pids[name] = pid
        return pid

    def do_signal(self, name: str, number: int) -> bool:
        """Signal the process started as ``name``; false if it has ended."""
        pid = self._pids.get(name)
        if pid is None or not _lives(pid):
            return False
        os.kill(pid, number)
        return True

    def do_signal_all(self, number: int) -> None:
        """Signal every process of this host but the first."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, number)

    def do_signal_matching(self, words: list[str], number: int) -> int:
        """Signal every process whose command line has all ``words``; how many those were."""
        found = [pid for pid, line in self.do_processes() if all(word in line for word in words)]
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return len(found)

    def do_alive(self, name: str) -> bool:
        return name in self._pids and _lives(self._pids[name])

    def do_processes(self) -> list[tuple[int, str]]:
        """(pid, command line) of every process here but the first."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == _SELF:
                continue
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if line:
                found.append((int(entry.name), line.replace(b"\0", b" ").decode(errors="replace")))
        return found


def _exec(argv: list[str], env: dict[str, str], log: str, files: int, nice: int) -> None:
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDONLY)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number, descriptor in ((0, null), (1, out), (2, out)):
        os.dup2(descriptor, number)
    os.closerange(3, 1024)
    if files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if nice:
        os.nice(nice)
    os.execvpe(argv[0], argv, env)


def _lives(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in ("Z", "X")


def _reap(*_: Any) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main() -> None:
    signal.signal(signal.SIGCHLD, _reap)
    init = Init()
    print(json.dumps({"answer": "ready"}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"answer": getattr(init, f"do_{request.pop('do')}")(**request)}
        except Exception as exc:  # noqa: BLE001 - told to whoever asked
            answer = {"error": f"{type(exc).__name__}: {exc}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

"""Processes that outlive the agent: started in a session of their own, found again by pid and
start time, ended with SIGTERM, a deadline, then SIGKILL. Used for nbdkit and nbdfuse.

None of them is the agent's child. nbdkit 1.32.5 asks for SIGTERM at the death of whichever
*thread* started it (PR_SET_PDEATHSIG), told to exit with its parent or not; only once it is an
orphan does it outlive thread and agent. A pidfd tells of its end all the same.

Both stand in the path of the kernel's own write-back, so they are started as "I/O flushers"
(prctl(2), PR_SET_IO_FLUSHER, inherited): their memory allocations never wait for the very
device they serve.
"""

import contextlib
import ctypes
import logging
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.common import errors

logger = logging.getLogger(__name__)

#: include/uapi/linux/prctl.h
_PR_SET_IO_FLUSHER = 57

_KILL_LIMIT_S = 10.0
_LAUNCH_LIMIT_S = 10.0

#: Starts "$@" in the background, says its pid and ends. What was started first waits until the
#: launcher is gone: from then on it has no parent whose death could end it.
_LAUNCHER = """
( while read -r _ _ _ parent _ </proc/self/stat && [ "$parent" = $$ ]; do :; done; exec "$@" ) \
  >&2 & echo $!
"""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4


@dataclass(frozen=True, slots=True)
class Ident:
    """A process for good: pids are used again, a pid with its start time (clock ticks since
    boot, proc(5) field 22) is not."""

    pid: int
    started: int


class Process:
    """A running or ended process. ``kill`` may be called from any thread."""

    def __init__(self, ident: Ident, pidfd: int) -> None:
        self.ident = ident
        self._pidfd = pidfd
        self._mutex = threading.Lock()  # no signal to a pidfd that was closed and used again

    @classmethod
    def start(cls, argv: Sequence[str], log_file: Path | None = None) -> "Process":
        """Start ``argv``; its output goes to ``log_file`` or the caller's stderr.

        Raises errors.Unavailable if it ends at once, OSError if no process can be made.
        """
        with _io_flusher(), _output(log_file) as output:
            launched = subprocess.run(
                ["/bin/sh", "-c", _LAUNCHER, "launcher", *argv],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,
                timeout=_LAUNCH_LIMIT_S,
                check=True,
            )
        process = find(int(launched.stdout))
        if process is None:
            raise errors.Unavailable(why=f"{argv[0]} ended as soon as it was started")
        return process

    @classmethod
    def adopt(cls, ident: Ident) -> "Process | None":
        """The process an earlier agent started, if it still runs."""
        try:
            pidfd = os.pidfd_open(ident.pid)
        except OSError:
            return None
        # Looked up with the pidfd in hand, so that the pid cannot change hands in between.
        if _started(ident.pid) != ident.started:
            os.close(pidfd)
            return None
        process = cls(ident, pidfd)
        if process.alive:
            return process
        process.close()
        return None

    @property
    def alive(self) -> bool:
        return not self.wait(0)

    def wait(self, timeout_s: float) -> bool:
        """Whether it ended within ``timeout_s``."""
        if self._pidfd < 0:
            return True
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))

    def stop(self, timeout_s: float) -> None:
        """End it; blocks for ``timeout_s`` and a little. Raises errors.Unavailable if it stays.

        A stopped or hanging process gets SIGKILL, which it cannot put off.
        """
        self._signal(signal.SIGTERM)
        if not self.wait(timeout_s):
            logger.warning("process_killed pid=%d after_s=%g", self.ident.pid, timeout_s)
            self.kill()
        if not self.wait(_KILL_LIMIT_S):
            raise errors.Unavailable(
                why=f"process {self.ident.pid} does not end, even after SIGKILL"
            )

    def kill(self) -> None:
        """Send SIGKILL. Does not wait."""
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        """Forget the process without ending it."""
        with self._mutex:
            if self._pidfd >= 0:
                os.close(self._pidfd)
                self._pidfd = -1

    def _signal(self, number: signal.Signals) -> None:
        with self._mutex, contextlib.suppress(ProcessLookupError):  # it ended just now
            if self.alive:
                signal.pidfd_send_signal(self._pidfd, number)


def find(pid: int) -> Process | None:
    """The process with number ``pid``, if there is one."""
    started = _started(pid)
    return Process.adopt(Ident(pid, started)) if started is not None else None


def with_argument(argument: str) -> list[Ident]:
    """Processes that have ``argument`` on their command line: ones nobody wrote down."""
    found = []
    wanted = argument.encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it ended
            continue
        started = _started(int(entry.name)) if wanted in arguments else None
        if started is not None:
            found.append(Ident(int(entry.name), started))
    return found


def run(argv: Sequence[str], timeout_s: float) -> str:
    """Standard output of a tool. Raises errors.Unavailable with its words if it fails or hangs.

    A tool that cannot even be killed (it waits inside the kernel) is left behind, not waited for.
    """
    try:
        with _io_flusher():
            popen = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "LC_ALL": "C"},
                text=True,
                start_new_session=True,
            )
    except OSError as exc:
        raise errors.Unavailable(why=f"{argv[0]} cannot be started: {exc.strerror}") from exc
    try:
        output, problem = popen.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as exc:
        popen.kill()
        raise errors.Unavailable(
            why=f"{argv[0]} did not end within {timeout_s:g} s ({' '.join(argv)})"
        ) from exc
    if popen.returncode != 0:
        words = problem.strip() or f"exit code {popen.returncode}"
        raise errors.Unavailable(why=f"{argv[0]} failed: {words}")
    return output


def poll_until(done: Callable[[], bool], timeout_s: float, interval_s: float = 0.02) -> bool:
    """Whether ``done()`` came true within ``timeout_s``; for what the kernel gives no event."""
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(interval_s)
    return True


def _started(pid: int) -> int | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[19])  # field 22; the name may hold anything


@contextmanager
def _io_flusher() -> Iterator[None]:
    """What this thread starts inside is an I/O flusher; without CAP_SYS_RESOURCE it is not."""
    done = _libc.prctl(_PR_SET_IO_FLUSHER, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        if done:
            _libc.prctl(_PR_SET_IO_FLUSHER, 0, 0, 0, 0)


@contextmanager
def _output(log_file: Path | None) -> Iterator[int | None]:
    if log_file is None:
        yield 2
        return
    fd = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)

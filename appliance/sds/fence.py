"""Proof that no process can write to a replica any more (R4).

Every data server and copier inherits a descriptor with a shared flock on the replica's ``lock``;
who has the exclusive one knows that all of them are dead, those of a dead agent too.
"""

import fcntl
import logging
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.common import errors

logger = logging.getLogger(__name__)

_FIRST_WAIT_S = 0.002
_LAST_WAIT_S = 0.1


class Fence:
    """The exclusive flock on ``path``, until ``share`` or the end of the ``with``.

    For one thread. Made only when every other holder is dead: they are killed. Raises
    errors.Unavailable if one outlives ``limit_s`` (in a system call that does not end).
    """

    def __init__(self, path: Path, limit_s: float) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _take(self._fd, path, limit_s)
        except BaseException:
            os.close(self._fd)
            raise

    @contextmanager
    def share(self) -> Iterator[int]:
        """Turn it into a shared flock: a descriptor for a process to inherit, while in here."""
        fcntl.flock(self._fd, fcntl.LOCK_SH)
        try:
            yield self._fd
        finally:
            self.close()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> "Fence":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


@contextmanager
def shared(path: Path) -> Iterator[int]:
    """One more shared flock: a descriptor for a process to inherit, while in here."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield fd
    except BlockingIOError as exc:
        raise errors.Unavailable(why=f"{path} is held by a seal going on") from exc
    finally:
        os.close(fd)


def kill_holders(paths: Iterable[Path]) -> list[int]:
    """SIGKILL every process that has one of the lock files open and flocked. Does not wait.

    Returns their pids. This process is left out.
    """
    wanted = set()
    for path in paths:
        try:
            found = path.stat()
        except OSError:
            continue
        wanted.add((found.st_dev, found.st_ino))
    return [pid for pid in _other_pids() if wanted and _kill_if_holder(pid, wanted)]


def _take(fd: int, path: Path, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    wait_s = _FIRST_WAIT_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pids = kill_holders([path])
        if time.monotonic() > deadline:
            raise errors.Unavailable(
                why=f"not sealed: {path} is still held by process {pids or 'unknown'} "
                f"{limit_s:g} s after SIGKILL; is the disk hanging?"
            )
        threading.Event().wait(wait_s)
        wait_s = min(2 * wait_s, _LAST_WAIT_S)


def _other_pids() -> list[int]:
    own = os.getpid()
    return [int(e.name) for e in os.scandir("/proc") if e.name.isdigit() and int(e.name) != own]


def _kill_if_holder(pid: int, wanted: set[tuple[int, int]]) -> bool:
    if not _holds(pid, wanted):
        return False
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        # The number may be another process's by now; the pidfd stays with the one it opened.
        if not _holds(pid, wanted):
            return False
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
    logger.info("holder_killed pid=%d", pid)
    return True


def _holds(pid: int, wanted: set[tuple[int, int]]) -> bool:
    try:
        descriptors = list(os.scandir(f"/proc/{pid}/fd"))
    except OSError:  # it ended
        return False
    for descriptor in descriptors:
        try:
            # By name first: stat on a stranger's file may hang with its file system.
            target = str(Path(descriptor.path).readlink())
            if not target.removesuffix(" (deleted)").endswith("/lock"):
                continue
            found = descriptor.stat()
            if (found.st_dev, found.st_ino) not in wanted:
                continue
            if "FLOCK" in Path(f"/proc/{pid}/fdinfo/{descriptor.name}").read_text("ascii"):
                return True
        except OSError:  # closed meanwhile
            continue
    return False

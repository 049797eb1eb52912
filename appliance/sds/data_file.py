"""The agent's own descriptor of a replica's ``data``, open for as long as the agent knows it.

The kernel reports a page it could not write once per open descriptor; with this one nothing
that went wrong between two servers stays unseen (R5).
"""

import os
import threading
from pathlib import Path

from appliance.common import errors


class DataFile:
    """Thread-safe; ``close`` waits for a ``sync`` going on, nothing else does."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._idle = threading.Condition()
        self._syncing = 0

    def sync(self) -> None:
        """Make it durable. Raises errors.DeviceFailed: a second try would prove nothing."""
        with self._idle:
            if self._fd < 0:
                raise errors.Unavailable(why=f"{self._path} is closed")
            self._syncing += 1
        try:
            os.fdatasync(self._fd)
        except OSError as exc:
            raise errors.DeviceFailed(device=self._path, why=f"fdatasync: {exc.strerror}") from exc
        finally:
            with self._idle:
                self._syncing -= 1
                self._idle.notify_all()

    def fileno(self) -> int:
        """For calls that the closer of this file also makes."""
        return self._fd

    def used_bytes(self) -> int:
        """Bytes occupied on the device; 0 once closed."""
        with self._idle:
            return os.fstat(self._fd).st_blocks * 512 if self._fd >= 0 else 0

    def close(self) -> None:
        with self._idle:
            self._idle.wait_for(lambda: not self._syncing)
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

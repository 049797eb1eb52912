"""Space kept on a device so that metadata can still be written when volumes have filled it.

Given up a little at a time, since what is freed is open to every writer, and taken back as soon
as there is room.
"""

import errno
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from appliance.common import units

logger = logging.getLogger(__name__)

#: What is given up at once: enough for every metadata file of one volume.
STEP_BYTES = units.MIB

_FULL = (errno.ENOSPC, errno.EDQUOT)


class Ballast:
    """The ballast file of one device, ``size`` bytes long when whole. Thread-safe."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size
        self._lock = threading.Lock()

    def write(self, metadata: Callable[[], None]) -> None:
        """Call ``metadata``, and again with ballast given up each time the device is full.

        ``metadata`` must bear being called again after an OSError. Raises that OSError when
        there is no ballast left.
        """
        while True:
            try:
                metadata()
                return
            except OSError as exc:
                if exc.errno not in _FULL or not self._release():
                    raise

    def restore(self) -> bool:
        """Take the whole ballast (back); false if the device has no room for all of it."""
        with self._lock:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if os.fstat(fd).st_blocks * 512 >= self._size:
                    return True
                os.posix_fallocate(fd, 0, self._size)
                os.fsync(fd)
            except OSError as exc:
                if exc.errno not in _FULL:
                    raise
                return False
            finally:
                os.close(fd)
            return True

    def _release(self) -> bool:
        with self._lock:
            try:
                fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                return False
            try:
                # What is allocated, not the length: a failed restore may leave blocks behind it.
                held = os.fstat(fd).st_blocks * 512
                if held == 0:
                    return False
                os.ftruncate(fd, max(0, held - STEP_BYTES))
                os.fsync(fd)  # ext4 hands freed blocks out only after its journal committed
            finally:
                os.close(fd)
        logger.warning("ballast_released path=%s left=%d", self._path, max(0, held - STEP_BYTES))
        return True

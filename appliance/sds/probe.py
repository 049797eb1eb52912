"""How long a device takes to make a small write durable: measured every few seconds, beside all
else, in a thread per device, so that a disk that hangs holds up nothing but its own probe.

It finds slow disks; it judges nothing: a write that fails here is noticed by those who need the
device (R5).
"""

import os
import threading
import time
from pathlib import Path

from appliance.sds import adoption

INTERVAL_S = 5.0

_BLOCK = b"\0" * 4096


class Probe:
    """``seconds`` of the newest write; of the one going on if that takes longer already."""

    def __init__(self, directory: Path, interval_s: float = INTERVAL_S) -> None:
        self._path = directory / adoption.PROBE
        self._interval_s = interval_s
        self._last_s = 0.0
        self._began: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sds-probe", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def seconds(self) -> float:
        began = self._began
        going_s = time.monotonic() - began if began is not None else 0.0
        return max(self._last_s, going_s)

    def stop(self) -> None:
        """Does not wait: the thread may hang in the write for as long as the disk does."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            self._began = time.monotonic()
            try:
                self._write()
            except OSError:
                continue  # full, or gone: told by the device's state
            finally:
                self._last_s = time.monotonic() - self._began
                self._began = None

    def _write(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_DSYNC | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path, flags, 0o600)
        try:
            os.pwrite(descriptor, _BLOCK, 0)
        finally:
            os.close(descriptor)

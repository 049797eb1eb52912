"""Keeps a copy within its bandwidth. Waits outside of locks only (R8): the caller sees to it."""

import threading

from appliance.common import clock


class Throttle:
    """``bandwidth`` in bytes a second, 0 for no limit. Thread-safe."""

    def __init__(self, bandwidth: int, time: clock.Clock) -> None:
        self._time = time
        self._mutex = threading.Lock()
        self._changed = threading.Condition(self._mutex)
        self._bandwidth = bandwidth
        self._free_at = 0.0

    def set(self, bandwidth: int) -> None:
        """From now on; who waits for the old one is let go."""
        with self._mutex:
            self._bandwidth = bandwidth
            self._free_at = 0.0
            self._changed.notify_all()

    @property
    def limited(self) -> bool:
        """Whether ``take`` may wait."""
        return bool(self._bandwidth)

    def take(self, length: int) -> None:
        """Wait until ``length`` bytes may be moved."""
        with self._mutex:
            if not self._bandwidth:
                return
            now = self._time.monotonic()
            begins = max(now, self._free_at)
            self._free_at = begins + length / self._bandwidth
            if begins > now:
                self._changed.wait(begins - now)

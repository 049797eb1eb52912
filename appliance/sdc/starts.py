"""Few plugins start at once: hundreds would keep each other, and what already runs on this host,
from getting anywhere."""

import threading

#: Processes that start at once on this client.
AT_ONCE = 4

#: A start that takes longer keeps no other one waiting. Seconds.
LIMIT_S = 5.0


class Starts:
    """One per client; its places are handed out as they become free. Thread-safe."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._free = threading.BoundedSemaphore(at_once)

    def place(self) -> "Place":
        return Place(self._free)


class Place:
    """One mapping's; for its thread only. Taken and given back any number of times."""

    def __init__(self, free: threading.BoundedSemaphore) -> None:
        self._free = free
        self._since_s: float | None = None

    def take(self, now: float, wait_s: float) -> bool:
        """Whether it was to be had within ``wait_s``. ``now`` is monotonic time."""
        if self._since_s is None and not self._free.acquire(timeout=wait_s):
            return False
        self._since_s = now
        return True

    def give_back(self) -> None:
        if self._since_s is not None:
            self._since_s = None
            self._free.release()

    def overdue(self, now: float) -> bool:
        """Whether the start that it was taken for takes too long."""
        return self._since_s is not None and now - self._since_s > LIMIT_S

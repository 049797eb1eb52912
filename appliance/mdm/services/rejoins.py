"""When a replica that left may come back: a wait that grows while it leaves again and again.

In memory only: after a restart of the MDM everybody may come back at once. Thread-safe.
"""

import threading
from dataclasses import dataclass

#: A replica that left comes back after this long; doubled each time it leaves again soon. At the
#: limit a broken link costs two short turns a minute, and nobody has one copy for longer. Seconds.
FIRST_S = 1.0
LIMIT_S = 60.0

#: One that could stay for so long since it might come back begins anew. Seconds.
SOON_S = 60.0


@dataclass(frozen=True, slots=True)
class _Wait:
    delay_s: float
    until_s: float
    left_at_s: float


class Rejoins:
    """Times are seconds of the process's monotonic clock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waits: dict[tuple[str, str], _Wait] = {}
        #: (volume, device) of replicas that left for lack of space; changed by ``upkeep`` alone
        self.without_room: set[tuple[str, str]] = set()

    def left(self, volume_id: str, device_id: str, now: float) -> None:
        """The replicas of a volume on a device left the map, or failed to join it, at ``now``."""
        with self._lock:
            last = self._waits.get((volume_id, device_id))
            if last is not None and last.left_at_s == now:
                return  # another column of the same leg, in the same turn
            delay_s = FIRST_S
            if last is not None and now - last.until_s < SOON_S:
                delay_s = min(LIMIT_S, 2 * last.delay_s)
            self._waits[volume_id, device_id] = _Wait(delay_s, now + delay_s, now)

    def wait_s(self, volume_id: str, device_id: str, now: float) -> float:
        """How long they still wait; 0 if they may come back."""
        with self._lock:
            found = self._waits.get((volume_id, device_id))
        return 0.0 if found is None else max(0.0, found.until_s - now)

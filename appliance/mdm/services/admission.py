"""Which turns may wait. A turn costs every SDS of its volume the start of a server, so hundreds at
once make each of them slow; those that nobody's I/O waits for begin a few at a time.

What is kept in memory is found again: the sweep looks at every volume in use from time to time.
"""

from appliance.common import clock as clocks
from appliance.mdm.services.turns import Turns

#: Turns that go on at once before one that may wait is put off.
AT_ONCE = 16

#: A turn that takes longer is blocked by something, and holds no other one up. Seconds.
COUNTED_S = 5.0


class Admission:
    """One per MDM; called in write transactions, so by one thread at a time."""

    def __init__(self, turns: Turns, clock: clocks.Clock) -> None:
        self._turns = turns
        self._clock = clock
        #: volumes put off, the first one first
        self._put_off: dict[str, None] = {}

    def admits(self, volume_id: str) -> bool:
        """Whether a turn that may wait begins now; if not, ``due`` will name its volume."""
        if self._room() > 0:
            self._put_off.pop(volume_id, None)
            return True
        self._put_off.setdefault(volume_id)
        return False

    def due(self) -> list[str]:
        """The volumes whose turn it is now, of those put off; each is named once."""
        found = list(self._put_off)[: max(0, self._room())]
        for volume_id in found:
            del self._put_off[volume_id]
        return found

    def _room(self) -> int:
        since_s = self._clock.monotonic() - COUNTED_S
        return AT_ONCE - self._turns.begun_since(since_s)

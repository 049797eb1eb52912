"""Clocks as arguments. Durations come from CLOCK_BOOTTIME, which goes on while a host sleeps
and never jumps; wall time is for people and for the event log only."""

import time
from typing import Protocol


class Clock(Protocol):
    """Neither call blocks; both may be called from any thread."""

    def monotonic(self) -> float:
        """Seconds since some fixed point, never stepping, counting suspend."""
        ...

    def wall(self) -> float:
        """Seconds since the Unix epoch, as the host believes."""
        ...


class SystemClock:
    def monotonic(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall(self) -> float:
        return time.time()

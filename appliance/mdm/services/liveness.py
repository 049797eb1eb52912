"""When each agent was last heard, in memory only: after a restart all are asked for anew.

Written by the heartbeat service, read by everything that shows who answers. Thread-safe.
"""

import collections
import contextlib
import threading
from collections.abc import Iterator

from appliance.common import clock as clocks


class Liveness:
    """Times are seconds of the process's monotonic clock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}
        self._answered: dict[str, float] = {}
        self._in_hand: collections.Counter[str] = collections.Counter()
        self._refusing: set[str] = set()
        self._expected: dict[str, tuple[str, float]] = {}

    def seen(self, ident: str, now: float) -> None:
        """Agent ``ident`` was heard at ``now``."""
        with self._lock:
            self._last[ident] = now
            self._refusing.discard(ident)

    @contextlib.contextmanager
    def heard(self, ident: str, clock: clocks.Clock) -> Iterator[None]:
        """The agent's message is in hand while the block runs, and until its end the agent counts
        as ``seen``: a busy MDM must not take its own slowness for an agent's death."""
        self.seen(ident, clock.monotonic())
        with self._lock:
            self._in_hand[ident] += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_hand[ident] -= 1
                self._answered[ident] = clock.monotonic()

    def refused(self, ident: str) -> None:
        """The agent's host answers that nothing listens there: the agent ended (until ``seen``)."""
        with self._lock:
            self._refusing.add(ident)

    def refuses(self, ident: str) -> bool:
        with self._lock:
            return ident in self._refusing

    def expect(self, what: str, ident: str, now: float) -> None:
        """Agent ``ident`` was told at ``now`` to fetch its orders at once, because of ``what``."""
        with self._lock:
            self._expected.setdefault(what, (ident, now))

    def overdue(self, now: float, limit_s: float) -> set[str]:
        """For what an agent was expected longer than ``limit_s`` ago and not heard since."""
        with self._lock:
            for what, (ident, since) in list(self._expected.items()):
                if self._last.get(ident, float("-inf")) > since:
                    del self._expected[what]
            return {what for what, (_, since) in self._expected.items() if now - since >= limit_s}

    def expect_no_more(self, what: str) -> None:
        with self._lock:
            self._expected.pop(what, None)

    def silent_s(self, ident: str, now: float) -> float | None:
        """For how long nothing was heard of it, None if nothing since this MDM started."""
        with self._lock:
            if ident not in self._last:
                return None
            if self._in_hand[ident]:
                return 0.0
            last = max(self._last[ident], self._answered.get(ident, float("-inf")))
        return max(0.0, now - last)

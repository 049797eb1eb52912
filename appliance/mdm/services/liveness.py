"""When each agent was last heard, in memory only: after a restart all are asked for anew.

Written by the heartbeat service, read by everything that shows who answers. Thread-safe.
"""

import threading


class Liveness:
    """Times are seconds of the process's monotonic clock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, tuple[str, float]] = {}
        self._answered: dict[str, float] = {}
        self._refusing: set[str] = set()
        self._expected: dict[str, tuple[str, float]] = {}

    def seen(self, kind: str, ident: str, now: float) -> None:
        """Agent ``ident`` (``kind`` sds or sdc) was heard at ``now``."""
        with self._lock:
            self._last[ident] = (kind, now)
            self._refusing.discard(ident)

    def answered(self, ident: str, now: float) -> None:
        """The agent waited for its answer until ``now``, and sent nothing new meanwhile: a busy MDM
        must not take its own slowness for an agent's death."""
        with self._lock:
            self._answered[ident] = now

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
                if self._last.get(ident, ("", float("-inf")))[1] > since:
                    del self._expected[what]
            return {what for what, (_, since) in self._expected.items() if now - since >= limit_s}

    def expect_no_more(self, what: str) -> None:
        with self._lock:
            self._expected.pop(what, None)

    def last_seen(self, ident: str) -> float | None:
        """When it was last heard, None if not since this MDM started."""
        with self._lock:
            found = self._last.get(ident)
            answered = self._answered.get(ident, float("-inf"))
        return None if found is None else max(found[1], answered)

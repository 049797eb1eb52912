"""Ranges held at this client while a replica is copied there (R8), each for a limited time.

A copy step's ticket of the ``gate`` is kept here between the agent's lock and its unlock.
"""

import threading
import time

from nbd_plugin import failures, gate


class CopyLocks:
    """Thread-safe; nothing blocks. While anything is held a thread waits for the next limit."""

    def __init__(self, tickets: gate.Gate) -> None:
        self._gate = tickets
        self._changed = threading.Condition()
        #: by id: the ticket, and when it is given back at the latest
        self._held: dict[str, tuple[gate.Ticket, float]] = {}
        self._watching = False
        self._looks_at = 0.0

    def hold(self, ident: str, ticket: gate.Ticket, limit_s: float) -> None:
        """Keep ``ticket`` until ``release(ident)``, and for ``limit_s`` at the longest.

        Raises failures.LockIdInUse: the range held under this id stays held, ``ticket`` is not.
        """
        until = time.monotonic() + limit_s
        with self._changed:
            if ident in self._held:
                raise failures.LockIdInUse(ident=ident)
            self._held[ident] = (ticket, until)
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, name="basalt-locks", daemon=True).start()
            elif until < self._looks_at:
                self._changed.notify()

    def release(self, ident: str) -> None:
        """Give the range back. A second call does nothing."""
        with self._changed:
            held = self._held.pop(ident, None)
        if held is not None:
            self._gate.leave(held[0])

    def _watch(self) -> None:
        """Ends when nothing is held any more; whoever comes then starts another."""
        while True:
            with self._changed:
                now = time.monotonic()
                over = [ident for ident, (_, until) in self._held.items() if until <= now]
                if not over:
                    if not self._held:
                        self._watching = False
                        return
                    self._looks_at = min(until for _, until in self._held.values())
                    self._changed.wait(self._looks_at - now)
                    continue
            for ident in over:
                self.release(ident)

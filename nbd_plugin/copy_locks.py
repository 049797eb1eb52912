"""Ranges held at this client while a replica is copied there (R8), each for a limited time.

A copy step's ticket of the ``gate`` is kept here between the agent's lock and its unlock.
"""

import threading

from nbd_plugin import failures, gate


class CopyLocks:
    """Thread-safe; nothing blocks."""

    def __init__(self, tickets: gate.Gate) -> None:
        self._gate = tickets
        self._lock = threading.Lock()
        self._held: dict[str, tuple[gate.Ticket, threading.Timer]] = {}

    def hold(self, ident: str, ticket: gate.Ticket, limit_s: float) -> None:
        """Keep ``ticket`` until ``release(ident)``, and for ``limit_s`` at the longest.

        Raises failures.LockIdInUse: the range held under this id stays held, ``ticket`` is not.
        """
        timer = threading.Timer(limit_s, self.release, (ident,))
        timer.daemon = True
        with self._lock:
            if ident in self._held:
                raise failures.LockIdInUse(ident=ident)
            self._held[ident] = (ticket, timer)
        timer.start()

    def release(self, ident: str) -> None:
        """Give the range back. A second call does nothing."""
        with self._lock:
            held = self._held.pop(ident, None)
        if held is not None:
            held[1].cancel()
            self._gate.leave(held[0])

"""Who may change a range now: writes and copy steps take turns, first come first served (R8, R9).

A ticket waits for every earlier ticket that overlaps it, and for nothing else, so there is no
deadlock and no overtaking. Reads need no ticket.
"""

import threading
import time


class Ticket:
    __slots__ = ("done", "end", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end
        self.done: threading.Event | None = None


class Gate:
    """Tickets in order of arrival. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tickets: dict[Ticket, None] = {}

    def enter(self, start: int, end: int, timeout_s: float | None = None) -> Ticket:
        """Wait until no earlier ticket overlaps ``[start, end)``; then it is the caller's.

        Raises TimeoutError (the ticket is given back) if that takes longer than ``timeout_s``.
        """
        ticket = Ticket(start, end)
        blockers = None
        with self._lock:
            for other in self._tickets:
                if other.start < end and start < other.end:
                    if other.done is None:
                        other.done = threading.Event()
                    if blockers is None:
                        blockers = [other.done]
                    else:
                        blockers.append(other.done)
            self._tickets[ticket] = None
        if blockers is not None:
            deadline = None if timeout_s is None else time.monotonic() + timeout_s
            for event in blockers:
                left_s = None if deadline is None else max(deadline - time.monotonic(), 0.0)
                if not event.wait(left_s):
                    self.leave(ticket)
                    raise TimeoutError
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give the range back. A second call does nothing."""
        with self._lock:
            self._tickets.pop(ticket, None)
            done = ticket.done
        if done is not None:
            done.set()

    def __len__(self) -> int:
        return len(self._tickets)

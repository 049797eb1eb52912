"""A lock that is given to those who wait in the order they came, the urgent ones before all others.

Used by ``unit_of_work`` for the writers of the database, where ``threading.Lock`` would let
whoever comes by at the right moment go first.
"""

import collections
import threading


class Turnstile:
    """Held by one thread at a time. Whoever lets go hands it to the next in the line."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._held = False
        self._urgent: collections.deque[threading.Lock] = collections.deque()
        self._others: collections.deque[threading.Lock] = collections.deque()

    def acquire(self, timeout_s: float, urgent: bool = False) -> bool:
        """Wait ``timeout_s`` at most; False if it was others' turn all that time."""
        line = self._urgent if urgent else self._others
        with self._mutex:
            if not self._held:
                self._held = True
                return True
            mine = threading.Lock()
            mine.acquire()
            line.append(mine)
        if mine.acquire(timeout=timeout_s):
            return True
        with self._mutex:
            if mine in line:
                line.remove(mine)
                return False
        return True  # it was handed over just when the time was up

    def release(self) -> None:
        """Hand it to the next. Called by whoever holds it."""
        with self._mutex:
            waiting = self._urgent or self._others
            if waiting:
                waiting.popleft().release()
            else:
                self._held = False

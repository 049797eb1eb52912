"""How long to wait before trying again: growing, capped, and spread so that many do not try at
once. Called by agents and clients; it never sleeps itself."""

import random


class Backoff:
    """``next_s()`` grows from ``first_s`` by ``factor`` to ``limit_s``; ``reset()`` after success.

    Each value is drawn from the upper half of its range (equal jitter).
    """

    def __init__(self, first_s: float, limit_s: float, factor: float = 2.0) -> None:
        self._first_s = first_s
        self._limit_s = limit_s
        self._factor = factor
        self._current_s = first_s

    def next_s(self) -> float:
        value = self._current_s
        self._current_s = min(self._limit_s, value * self._factor)
        return value * (0.5 + random.random() / 2)

    def reset(self) -> None:
        self._current_s = self._first_s

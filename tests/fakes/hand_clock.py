"""A clock that goes on only when a test says so."""

import threading


class HandClock:
    """``asked_by``: an event is set when the thread of that name asks for the monotonic time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.asked_by: dict[str, threading.Event] = {}

    def monotonic(self) -> float:
        if asked := self.asked_by.get(threading.current_thread().name):
            asked.set()
        return self.now

    def wall(self) -> float:
        return 1_700_000_000.0 + self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds

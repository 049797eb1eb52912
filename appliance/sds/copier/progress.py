"""What the copier tells its agent: one line of JSON (messages.CopyReport) at a time on stdout."""

import json
import threading
from collections.abc import Callable

from appliance.common import clock
from appliance.protocol import codec, messages

#: Least time between two lines that differ in nothing but bytes.
_EVERY_S = 0.25


class Progress:
    """Counts bytes and reasons to wait. Thread-safe. ``write`` takes one line."""

    def __init__(self, generation: int, time: clock.Clock, write: Callable[[str], None]) -> None:
        self._generation = generation
        self._time = time
        self._write = write
        self._mutex = threading.Lock()
        self._copied = 0
        self._total = 0
        self._waiting = ""
        self._holder = ""
        self._told_at = 0.0

    def begin(self, total_bytes: int) -> None:
        with self._mutex:
            self._total = total_bytes
            self._tell()

    def copied(self, length: int) -> None:
        """``length`` more bytes are equal on both sides; nothing waits any more."""
        with self._mutex:
            self._copied += length
            news, self._waiting, self._holder = self._waiting != "", "", ""
            if news or self._time.monotonic() - self._told_at >= _EVERY_S:
                self._tell()

    def waiting(self, why: str, holder: str = "") -> None:
        """The copy does not go on, because of ``why``; it will be tried again.

        ``holder``: the incarnation that gives no lock, if that is why.
        """
        with self._mutex:
            if (self._waiting, self._holder) != (why, holder):
                self._waiting, self._holder = why, holder
                self._tell()

    def done(self) -> None:
        """Everything is equal and on disk."""
        with self._mutex:
            self._copied = self._total
            self._waiting = self._holder = ""
            self._tell(done=True)

    def failed(self, why: str) -> None:
        with self._mutex:
            self._tell(error=why)

    def _tell(self, done: bool = False, error: str = "") -> None:
        report = messages.CopyReport(
            generation=self._generation,
            copied_bytes=min(self._copied, self._total),
            total_bytes=self._total,
            done=done,
            waiting=self._waiting,
            error=error,
            waiting_for=self._holder,
        )
        self._told_at = self._time.monotonic()
        self._write(json.dumps(codec.to_json(report)))

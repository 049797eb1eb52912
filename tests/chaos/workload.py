"""The writers and readers of a chaos run: threads that use the volume's NBD socket, and record.

Each thread has a connection of its own and a seed of its own. Nothing here decides what may be
read: that is ``history``.
"""

import errno
import random
import threading
import time
from collections.abc import Callable

import nbd

from tests.chaos import history

_BLOCKS_PER_UNIT = (1 << 20) // history.BLOCK

#: Pause between two operations of a thread: the machine is not there for us alone.
_PAUSE_S = 0.002


class Ended(Exception):
    """The mapping, or the connection to it, is over."""


class Tally:
    """What happened so far, over all threads."""

    def __init__(self) -> None:
        self.operations = 0
        self.longest_write_s = 0.0
        self.longest_read_s = 0.0
        self.refused: list[str] = []  # I/O errors that are answers, not ends


class Worker(threading.Thread):
    """One thread; ``problem`` is what it found, ``ended`` why it stopped before it was told to."""

    def __init__(
        self, name: str, path: str, record: history.History, seed: str, tally: Tally
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.problem: BaseException | None = None
        self.ended = ""
        self._path = path
        self._record = record
        self._chance = random.Random(seed)
        self._tally = tally
        self._stop_asked = threading.Event()
        self.since_s = 0.0  # when the operation in flight began, 0 if none is

    def stop(self) -> None:
        self._stop_asked.set()

    def run(self) -> None:
        try:
            handle = connect(self._path)
            while not self._stop_asked.wait(_PAUSE_S):
                self._one(handle)
            handle.shutdown()
        except Ended as exc:
            self.ended = str(exc)
        except nbd.Error as exc:
            self.ended = f"connection: {exc.string}"
        except BaseException as exc:  # noqa: BLE001 - looked at by the driver
            self.problem = exc

    def _one(self, handle: nbd.NBD) -> None:
        kind = self._chance.choices(
            ("write", "read", "flush", "fua", "trim", "zero"), (50, 36, 3, 3, 4, 4)
        )[0]
        first, count = self._place()
        self.since_s = time.monotonic()
        try:
            getattr(self, f"_{kind}")(handle, first, count)
        finally:
            took_s, self.since_s = time.monotonic() - self.since_s, 0.0
            if kind == "read":
                self._tally.longest_read_s = max(self._tally.longest_read_s, took_s)
            else:
                self._tally.longest_write_s = max(self._tally.longest_write_s, took_s)
        self._tally.operations += 1

    def _place(self) -> tuple[int, int]:
        """Mostly few blocks in places that are used again and again; sometimes across units."""
        total = self._record.blocks
        size = self._chance.choices((1, 2, 16, 300), (70, 14, 12, 4))[0]
        if self._chance.random() < 0.5:
            unit = self._chance.randrange(total // _BLOCKS_PER_UNIT)
            first = unit * _BLOCKS_PER_UNIT + self._chance.randrange(8)
        else:
            first = self._chance.randrange(total)
        return first, min(size, total - first)

    def _write(self, handle: nbd.NBD, first: int, count: int, fua: bool = False) -> None:
        operation = self._record.begin_write(first, count, fua=fua)
        data = history.payload(operation)
        flags = nbd.CMD_FLAG_FUA if fua else 0
        self._issue(handle, operation, lambda at: handle.pwrite(data, at, flags=flags))

    def _fua(self, handle: nbd.NBD, first: int, count: int) -> None:
        self._write(handle, first, count, fua=True)

    def _trim(self, handle: nbd.NBD, first: int, count: int) -> None:
        operation = self._record.begin_write(first, count, zeroes=True)
        self._issue(handle, operation, lambda at: handle.trim(count * history.BLOCK, at))

    def _zero(self, handle: nbd.NBD, first: int, count: int) -> None:
        operation = self._record.begin_write(first, count, zeroes=True)
        self._issue(handle, operation, lambda at: handle.zero(count * history.BLOCK, at))

    def _issue(
        self, handle: nbd.NBD, operation: history.Operation, send: Callable[[int], None]
    ) -> None:
        """A write that the connection's end leaves unanswered stays in flight for the record."""
        try:
            send(operation.first * history.BLOCK)
        except nbd.Error as exc:
            self._raise_if_over(handle, exc)
            self._record.end_write(operation, False)
        else:
            self._record.end_write(operation, True)

    def _read(self, handle: nbd.NBD, first: int, count: int) -> None:
        start = self._record.now()
        try:
            data = handle.pread(count * history.BLOCK, first * history.BLOCK)
        except nbd.Error as exc:
            self._raise_if_over(handle, exc)
        else:
            self._record.check_read(start, first, data)

    def _flush(self, handle: nbd.NBD, _first: int, _count: int) -> None:
        start = self._record.now()
        try:
            handle.flush()
        except nbd.Error as exc:
            self._raise_if_over(handle, exc)
        else:
            self._record.end_flush(start)

    def _raise_if_over(self, handle: nbd.NBD, exc: nbd.Error) -> None:
        if handle.aio_is_dead() or handle.aio_is_closed() or exc.errnum == errno.ESHUTDOWN:
            raise Ended(exc.string) from exc
        self._tally.refused.append(exc.string)


def connect(path: str, limit_s: float = 60.0) -> nbd.NBD:
    """A connection to the socket; a plugin that is just starting is waited for. Raises Ended."""
    deadline = time.monotonic() + limit_s
    while True:
        handle = nbd.NBD()
        try:
            handle.connect_unix(path)
            return handle
        except nbd.Error as exc:
            if time.monotonic() > deadline:
                raise Ended(f"no connection in {limit_s:.0f} s: {exc.string}") from exc
            time.sleep(0.1)

"""What was written to every 4 KiB block, and which values a read may therefore return.

A block is a register that several writers use. Each operation has a start tick, taken before it
was issued, and an end tick, taken after it was answered. A write is over for a read when another
one, known to have happened, began after its end and ended before the read's start. Whatever is
not over may be read. A write whose outcome nobody knows is never known to have happened, so it
may be there or not; the first read after it that overlaps nothing settles which, for good.
"""

import bisect
import struct
import threading
from collections.abc import Iterable
from dataclasses import dataclass

BLOCK = 4096

_CELL = struct.Struct("<QQ")
_CELLS = BLOCK // _CELL.size
_ZEROES = bytes(BLOCK)
_ZERO = 0


class Violation(Exception):
    """A read returned what it must not; the message is for a person."""


@dataclass(slots=True)
class Write:
    """``value`` 0 is zeroes. ``end`` is None while it is in flight. ``sure``: it happened.

    ``saved``: a flush or FUA answered since says that no power cut takes it away.
    """

    value: int
    start: int
    end: int | None = None
    sure: bool = False
    saved: bool = False


@dataclass(slots=True)
class Operation:
    """One write of ``count`` blocks from ``first``, the same stamp in each."""

    first: int
    count: int
    write: Write
    fua: bool = False


class History:
    """Of a volume of ``blocks`` blocks, all zeroes at first. Thread-safe."""

    def __init__(self, blocks: int) -> None:
        self.blocks = blocks
        self._lock = threading.Lock()
        self._tick = 0
        self._stamp = 0
        zero = Write(_ZERO, 0, 0, sure=True, saved=True)
        self._writes: list[list[Write]] = [[zero] for _ in range(blocks)]
        self._unsaved: set[int] = set()
        self._in_flight: list[Operation] = []

    def now(self) -> int:
        """A tick, before what is issued next and after what was answered last."""
        with self._lock:
            return self._next()

    # --- writes ------------------------------------------------------------------------

    def begin_write(
        self, first: int, count: int, zeroes: bool = False, fua: bool = False
    ) -> Operation:
        """Call before a write is issued."""
        with self._lock:
            self._stamp += 1
            write = Write(_ZERO if zeroes else self._stamp, self._next())
            operation = Operation(first, count, write, fua)
            for block in range(first, first + count):
                self._writes[block].append(write)
            self._in_flight.append(operation)
            return operation

    def end_write(self, operation: Operation, acknowledged: bool) -> None:
        """Call after it was answered; an error leaves its outcome unknown."""
        with self._lock:
            self._over(operation, acknowledged)
            self._in_flight.remove(operation)

    def end_flush(self, start: int) -> None:
        """A flush issued at tick ``start`` was acknowledged: what ended before is saved."""
        with self._lock:
            for block in list(self._unsaved):
                left = False
                for write in self._writes[block]:
                    if write.end is not None and write.end < start:
                        write.saved = True
                    left = left or not write.saved
                if not left:
                    self._unsaved.discard(block)

    def abandon(self) -> None:
        """The client is gone: what was in flight may have happened or not."""
        with self._lock:
            for operation in self._in_flight:
                self._over(operation, False)
            self._in_flight = []

    def lose_unsaved(self) -> None:
        """Every copy may have lost what no flush saved: each such write may be there or not."""
        with self._lock:
            for block in self._unsaved:
                writes = self._writes[block]
                # What a saved write replaced cannot come back.
                floor = max(w.start for w in writes if w.saved and w.sure)
                kept = [w for w in writes if w.end is None or w.end >= floor]
                end = self._next()
                self._writes[block] = [w if w.saved else Write(w.value, w.start, end) for w in kept]

    # --- reads -------------------------------------------------------------------------

    def check_read(self, start: int, first: int, data: bytes | bytearray) -> None:
        """Judge a read of whole blocks from ``first``, issued at tick ``start``. Raises Violation.

        Call as soon as it was answered.
        """
        with self._lock:
            end = self._next()
            for index in range(len(data) // BLOCK):
                block = first + index
                piece = bytes(data[index * BLOCK : (index + 1) * BLOCK])
                self._judge(block, piece, start, end)

    def settle(self, first: int, data: bytes | bytearray) -> None:
        """Nothing is in flight, ``data`` was judged, and a flush came after every write: what
        was read is what is there, and everything before is forgotten."""
        with self._lock:
            tick = self._next()
            for index in range(len(data) // BLOCK):
                found = _values(first + index, bytes(data[index * BLOCK : (index + 1) * BLOCK]))
                # A block may be torn between two writes of which none is known to have happened.
                self._writes[first + index] = [
                    Write(value, tick, tick, sure=len(found) == 1, saved=True) for value in found
                ]
                self._unsaved.discard(first + index)

    # --- inside ------------------------------------------------------------------------

    def _next(self) -> int:
        self._tick += 1
        return self._tick

    def _over(self, operation: Operation, acknowledged: bool) -> None:
        write = operation.write
        write.end, write.sure = self._next(), acknowledged
        write.saved = acknowledged and operation.fua
        if not write.saved:
            self._unsaved.update(range(operation.first, operation.first + operation.count))

    def _judge(self, block: int, piece: bytes, start: int, end: int) -> None:
        writes = self._writes[block]
        floor = max(
            (w.start for w in writes if w.sure and w.end is not None and w.end < start), default=0
        )
        allowed = [w for w in writes if w.end is None or w.end >= floor]
        got = _values(block, piece)
        if not got <= {w.value for w in allowed}:
            raise Violation(_complaint(block, got, allowed, writes, start, end))
        if len(got) != 1:
            return  # torn between writes in flight, or of unknown outcome
        (value,) = got
        old = [w for w in allowed if w.end is not None and w.end < start]
        if len({w.value for w in old}) > 1 and all(w in old for w in allowed if w.value == value):
            saved = all(w.saved for w in old)
            writes.append(Write(value, start, end, sure=True, saved=saved))


def content(block: int, operation: Operation) -> bytes:
    """The bytes of one block of a write: it says everywhere which block it is, of which write."""
    return _CELL.pack(block, operation.write.value) * _CELLS


def payload(operation: Operation) -> bytearray:
    """The bytes of a whole write."""
    blocks = range(operation.first, operation.first + operation.count)
    return bytearray(b"".join(content(block, operation) for block in blocks))


def _values(block: int, piece: bytes) -> set[int]:
    """Stamps found in a block; -1 for bytes that were never written there."""
    if piece == _ZEROES:
        return {_ZERO}
    cell = piece[: _CELL.size]
    cells: Iterable[bytes] = (cell,)
    if piece != cell * _CELLS:
        cells = {piece[at : at + _CELL.size] for at in range(0, BLOCK, _CELL.size)}
    found = set()
    for one in cells:
        where, stamp = _CELL.unpack(one)
        if (where, stamp) == (0, 0):
            found.add(_ZERO)
        else:
            found.add(stamp if where == block else -1)
    return found


def _complaint(
    block: int,
    got: set[int],
    allowed: list[Write],
    writes: list[Write],
    start: int,
    end: int,
) -> str:
    known = {w.value for w in writes}
    what = "an older value" if got <= known else "bytes never written there"
    recent = writes[bisect.bisect_left([w.start for w in writes], allowed[0].start) :][-12:]
    return (
        f"block {block} (unit {block // 256}) read {what}: {sorted(got)} in ticks {start}-{end}; "
        f"allowed {sorted({w.value for w in allowed})}; writes "
        + ", ".join(
            f"{w.value}[{w.start}-{w.end}{' sure' if w.sure else ''}{' saved' if w.saved else ''}]"
            for w in recent
        )
    )

"""The file ``sums`` beside ``data`` (design.md §3), and what it proves. Pure.

For each stripe unit of the volume it has 8 bytes: BLAKE2b-64 of the unit's bytes as both copies
had them when a scrub last compared them equal, or zeroes for none. (BLAKE2b is in the standard
library, lets the interpreter go while it works, and with 64 bits never takes rot for its sum; a
CRC-32 would, once in 4 billion times.) Each device keeps all rows of the volume, its own columns'
or not.

A sum holds only while no intent file has the unit's region touched: a client marks that, with FUA,
before its first write there. Whoever deletes an intent file, or copies over a region, voids the
sums of it first, durably.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from appliance.domain import model

SUM_BYTES = 8

#: No sum was recorded, or it was voided.
NONE = bytes(SUM_BYTES)

Data = bytes | bytearray | memoryview


def checksum(data: Data) -> bytes:
    """The sum of one unit; never ``NONE``."""
    found = hashlib.blake2b(data, digest_size=SUM_BYTES).digest()
    return found if found != NONE else b"\1" * SUM_BYTES


def file_length(size: int, unit: int = model.UNIT_BYTES) -> int:
    """Bytes of the file of a volume of ``size`` bytes."""
    return -(-size // unit) * SUM_BYTES


def place(offset: int, unit: int = model.UNIT_BYTES) -> int:
    """Where in the file the sum of the unit at ``offset`` of the volume is."""
    return offset // unit * SUM_BYTES


def row(
    region: int, size: int, unit: int = model.UNIT_BYTES, region_bytes: int = model.REGION_BYTES
) -> tuple[int, int]:
    """(offset, length) in the file of the sums of the units that begin in ``region``."""
    start = -(-region * region_bytes // unit)
    end = -(-min((region + 1) * region_bytes, size) // unit)
    return start * SUM_BYTES, max(0, end - start) * SUM_BYTES


def rows(regions: Iterable[int], size: int, unit: int = model.UNIT_BYTES) -> list[tuple[int, int]]:
    """(offset, length) of what voids every sum that reaches into ``regions``, joined, ascending."""
    found: list[tuple[int, int]] = []
    for region in sorted(regions):
        first = region * model.REGION_BYTES // unit
        last = -(-min((region + 1) * model.REGION_BYTES, size) // unit)
        if last <= first:
            continue
        start, end = first * SUM_BYTES, last * SUM_BYTES
        if found and found[-1][0] + found[-1][1] >= start:
            start = found.pop()[0]
        found.append((start, end - start))
    return found


class Verdict(StrEnum):
    """Whose bytes are not what they were when both were equal."""

    FIRST = "first"
    SECOND = "second"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Side:
    """One copy of a unit: the sum of its bytes now, and the sum its device recorded."""

    now: bytes
    recorded: bytes


def judge(first: Side, second: Side, touched: bool) -> tuple[Verdict, str]:
    """Which of two copies that differ has rotted, with the reason in words.

    Never a guess: only a sum that both recorded alike, that still holds and that exactly one of
    them matches tells them apart.
    """
    if touched:
        return Verdict.UNKNOWN, "the region was written since its last scrub, so no sum holds"
    if NONE in (first.recorded, second.recorded):
        return Verdict.UNKNOWN, "no sum was recorded for it yet"
    if first.recorded != second.recorded:
        return Verdict.UNKNOWN, "the sums recorded on the two devices differ"
    well = (first.now == first.recorded, second.now == second.recorded)
    if well == (False, True):
        return Verdict.FIRST, "its bytes do not match the sum recorded on both devices"
    if well == (True, False):
        return Verdict.SECOND, "its bytes do not match the sum recorded on both devices"
    return Verdict.UNKNOWN, "neither copy matches the sum recorded for it"

"""Where a byte of a volume lives. Pure arithmetic on the I/O path; offset is offset everywhere."""

from collections.abc import Iterator

from appliance.domain import model

#: One piece of a request that one column serves: (column, offset, length), bytes of the volume.
Segment = tuple[int, int, int]


def split(offset: int, length: int, ncols: int, unit: int = model.UNIT_BYTES) -> list[Segment]:
    """Cut ``[offset, offset + length)`` at unit boundaries, in order, nothing left out.

    With one column nothing needs cutting, so one segment comes back.
    """
    first = offset // unit
    last = (offset + length - 1) // unit
    if first == last or ncols == 1:
        return [(first % ncols, offset, length)] if length else []
    segments = []
    end = offset + length
    for index in range(first, last + 1):
        stop = min((index + 1) * unit, end)
        segments.append((index % ncols, offset, stop - offset))
        offset = stop
    return segments


def own_extents(
    columns: frozenset[int], ncols: int, size: int, unit: int = model.UNIT_BYTES
) -> Iterator[tuple[int, int]]:
    """(offset, length) of every run of units of ``columns`` in a volume of ``size`` bytes."""
    if len(columns) == ncols:
        yield 0, size
        return
    start = None
    for index in range((size + unit - 1) // unit):
        mine = index % ncols in columns
        if mine and start is None:
            start = index * unit
        elif not mine and start is not None:
            yield start, index * unit - start
            start = None
    if start is not None:
        yield start, size - start


def own_bytes(columns: frozenset[int], ncols: int, size: int, unit: int = model.UNIT_BYTES) -> int:
    """How many of a volume's ``size`` bytes belong to ``columns``."""
    whole, tail = divmod(size, unit)
    rounds, rest = divmod(whole, ncols)
    total = 0
    for column in columns:
        total += (rounds + (1 if column < rest else 0)) * unit
        if tail and whole % ncols == column:
            total += tail
    return total


def regions(offset: int, length: int, region: int = model.REGION_BYTES) -> range:
    """Numbers of the regions that ``[offset, offset + length)`` touches."""
    if not length:
        return range(0)
    return range(offset // region, (offset + length - 1) // region + 1)

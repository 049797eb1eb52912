"""The intent file (design.md §3, R3) as pure functions on its bytes: which regions may differ.

Used by the client's plugin, which writes the file over NBD, and by the SDS, which reads it. A
file is a row of 4096-byte blocks, each standing for 16384 regions: 2048 bytes of dirty bits,
then 2048 bytes of touched-since-scrub bits. Region r is bit r % 16384 of block r // 16384,
lowest bit of a byte first.
"""

from collections.abc import Iterator

from appliance.domain import model

#: One write of an intent; a plugin writes whole blocks only.
BLOCK_BYTES = 4096

#: Regions one block stands for.
BLOCK_REGIONS = 16384

#: Offset of the touched-since-scrub bits in a block.
_TOUCHED = BLOCK_BYTES // 2

Bytes = bytes | bytearray | memoryview


def region_count(size: int, region: int = model.REGION_BYTES) -> int:
    """Regions of a volume of ``size`` bytes; the last one may be cut short."""
    return -(-size // region)


def file_length(size: int, region: int = model.REGION_BYTES) -> int:
    """Bytes of the intent file of a volume of ``size`` bytes: whole blocks."""
    return -(-region_count(size, region) // BLOCK_REGIONS) * BLOCK_BYTES


def block_of(region: int) -> int:
    """Number of the block that holds ``region``; it begins at ``block_of(r) * BLOCK_BYTES``."""
    return region // BLOCK_REGIONS


def set_dirty(data: bytearray, region: int) -> None:
    """Mark ``region`` as one where replicas may differ, and as touched since the last scrub."""
    index, bit = _place(region)
    data[index] |= bit
    data[index + _TOUCHED] |= bit


def clear_dirty(data: bytearray, region: int) -> None:
    """The replicas are equal in ``region`` again; that it was touched stays on record."""
    index, bit = _place(region)
    data[index] &= ~bit & 0xFF


def clear_touched(data: bytearray, region: int) -> None:
    """``region`` was scrubbed."""
    index, bit = _place(region)
    data[index + _TOUCHED] &= ~bit & 0xFF


def is_dirty(data: Bytes, region: int) -> bool:
    index, bit = _place(region)
    return bool(data[index] & bit)


def is_touched(data: Bytes, region: int) -> bool:
    index, bit = _place(region)
    return bool(data[index + _TOUCHED] & bit)


def dirty_regions(data: Bytes) -> Iterator[int]:
    """Numbers of the dirty regions, ascending."""
    return _marked(data, 0)


def touched_regions(data: Bytes) -> Iterator[int]:
    """Numbers of the regions written since the last scrub, ascending."""
    return _marked(data, _TOUCHED)


def union(*files: Bytes) -> bytearray:
    """Every mark of every file; as long as the longest, shorter ones count as clean behind."""
    length = max((len(data) for data in files), default=0)
    bits = 0
    for data in files:
        bits |= int.from_bytes(data, "little")
    return bytearray(bits.to_bytes(length, "little"))


def _place(region: int) -> tuple[int, int]:
    """(index of the byte with the dirty bit, the bit's value)."""
    block, bit = divmod(region, BLOCK_REGIONS)
    return block * BLOCK_BYTES + bit // 8, 1 << (bit % 8)


def _marked(data: Bytes, half: int) -> Iterator[int]:
    for first, start in enumerate(range(half, len(data), BLOCK_BYTES)):
        bits = int.from_bytes(data[start : start + _TOUCHED], "little")
        while bits:
            lowest = bits & -bits
            yield first * BLOCK_REGIONS + lowest.bit_length() - 1
            bits ^= lowest

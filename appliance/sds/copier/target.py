"""Writing the local replica: data, and holes kept as holes (thin) or as reserved zeroes (thick).

Its file is opened by the copier alone; the agent fdatasyncs through its own descriptor as well.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from appliance.sds import allocation


class Target:
    """``data`` of one volume. Thread-safe as long as ranges do not overlap. Raises OSError."""

    def __init__(self, path: Path, thin: bool) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._thin = thin

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        while view:
            count = os.pwrite(self._fd, view, offset)
            view, offset = view[count:], offset + count

    def write_zeroes(self, offset: int, length: int) -> None:
        """Make the range read as zeroes: without blocks if the volume is thin."""
        if self._thin:
            allocation.punch_hole(self._fd, offset, length)
        else:
            allocation.zero_range(self._fd, offset, length)

    def is_hole(self, offset: int, length: int) -> bool:
        """Whether the range holds no data, so that it reads as zeroes."""
        try:
            return os.lseek(self._fd, offset, os.SEEK_DATA) >= offset + length
        except OSError:  # ENXIO: a hole up to the end of the file
            return True

    def sync(self) -> None:
        os.fdatasync(self._fd)


def gaps(offset: int, length: int, extents: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """What of the range no extent (ascending, within the range) covers."""
    found = []
    for start, size in extents:
        if start > offset:
            found.append((offset, start - offset))
        length -= start + size - offset
        offset = start + size
    if length > 0:
        found.append((offset, length))
    return found

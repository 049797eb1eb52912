"""A volume's bytes put together from chosen copies: sparse where they are, nothing overwritten.

Offset is offset everywhere (design.md §3), so a unit's bytes lie where they belong already.
"""

import errno
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.common import errors, units
from appliance.disk import choice, records, survey
from appliance.domain import layout, model

#: Bytes read at a time; also what progress is told in.
_CHUNK = units.MIB

Extent = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Difference:
    """Two copies that should be equal are not, in region ``region``. ``marked``: they may."""

    column: int
    region: int
    marked: bool


class Image:
    """``size`` bytes of one volume, as ``chosen`` says."""

    def __init__(self, chosen: choice.Choice) -> None:
        if chosen.absent:
            absent = ", ".join(map(str, chosen.absent))
            raise errors.Conflict(
                why=f"no copy of column {absent} is in the folders given; "
                "give the folder of another device"
            )
        self._columns = chosen.columns
        right = [copy for column in chosen.columns for copy in column.right]
        self.size = max(copy.volume.size for copy in right)
        self._unit = chosen.newest.volume.unit
        self._ncols = chosen.newest.volume.ncols
        self._parts = [(column.right[0], frozenset({column.index})) for column in chosen.columns]
        for copy in right:
            _check_data(copy)

    def data_bytes(self) -> int:
        """How much there is to copy."""
        return sum(length for copy, own in self._parts for _, length in self._extents(copy, own))

    def write(self, out: Path, progress: Callable[[int], None]) -> None:
        """Make ``out``, durably. ``progress`` is told of bytes done.

        Raises errors.AlreadyExists or errors.NoCapacity; nothing is left behind then.
        """
        self._check_room(out)
        try:
            fd = os.open(out, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError as exc:
            raise errors.AlreadyExists(kind="file", key=out) from exc
        try:
            os.ftruncate(fd, self.size)
            for copy, own in self._parts:
                self._take(copy, own, fd, progress)
            os.fsync(fd)
        except BaseException as exc:
            os.close(fd)
            out.unlink()
            if isinstance(exc, OSError) and exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise errors.NoCapacity(why=f"{out}: {exc.strerror}; it was removed again") from exc
            raise
        os.close(fd)

    def compare(self, progress: Callable[[int], None]) -> list[Difference]:
        """Where copies that count as right differ from the one that is taken."""
        found: dict[tuple[int, int], Difference] = {}
        for column in self._columns:
            first, *others = column.right
            for other in others:
                marked = first.dirty | other.dirty
                for region in self._differing(first, other, column.index, progress):
                    key = (column.index, region)
                    found[key] = Difference(*key, marked=region in marked)
        return [found[key] for key in sorted(found)]

    def _check_room(self, out: Path) -> None:
        folder = out.parent if str(out.parent) else Path()
        try:
            space = os.statvfs(folder)
        except FileNotFoundError as exc:
            raise errors.NotFound(kind="folder", key=folder) from exc
        needed, free = self.data_bytes(), space.f_bavail * space.f_frsize
        if needed > free:
            raise errors.NoCapacity(
                why=f"{out} needs {units.format_size(needed)}, and {folder.resolve()} has "
                f"{units.format_size(free)} free; name a file on another file system"
            )

    def _take(
        self, copy: survey.Copy, own: frozenset[int], fd: int, progress: Callable[[int], None]
    ) -> None:
        zeroes = bytes(_CHUNK)
        with copy.data.open("rb", buffering=0) as source:
            for offset, length in self._extents(copy, own):
                data = os.pread(source.fileno(), length, offset)
                if len(data) != length:
                    raise errors.Damaged(path=copy.data, why=f"it ends within {offset}+{length}")
                if data != zeroes[:length]:
                    _write(fd, data, offset)
                progress(length)

    def _extents(self, copy: survey.Copy, own: frozenset[int]) -> Iterator[Extent]:
        """Data in the own units, in pieces of at most a chunk that cross no unit's end."""
        end = min(self.size, copy.data.stat().st_size)
        with copy.data.open("rb", buffering=0) as source:
            for start, stop in _data(source.fileno(), end):
                yield from self._own(start, stop, own)

    def _own(self, start: int, stop: int, own: frozenset[int]) -> Iterator[Extent]:
        offset = start
        while offset < stop:
            index = offset // self._unit
            after = min((index + 1) * self._unit, stop)
            if index % self._ncols in own:
                for at in range(offset, after, _CHUNK):
                    yield at, min(_CHUNK, after - at)
            offset = after

    def _differing(
        self,
        first: survey.Copy,
        other: survey.Copy,
        column: int,
        progress: Callable[[int], None],
    ) -> Iterator[int]:
        own = frozenset({column})
        pieces = set(self._extents(first, own)) | set(self._extents(other, own))
        with (
            first.data.open("rb", buffering=0) as one,
            other.data.open("rb", buffering=0) as two,
        ):
            for offset, length in sorted(pieces):
                left = os.pread(one.fileno(), length, offset)
                right = os.pread(two.fileno(), length, offset)
                if left.ljust(length, b"\0") != right.ljust(length, b"\0"):
                    yield from layout.regions(offset, length)
                progress(length)


def in_use(copies: Iterable[survey.Copy]) -> list[survey.Copy]:
    """Those that a data server of this host has open: what is read may change meanwhile."""
    return [copy for copy in copies if _locked(copy.folder / records.LOCK)]


def regions_text(found: Iterable[Difference]) -> str:
    """Where, for people: offsets in the volume."""
    places = [units.format_size(each.region * model.REGION_BYTES) for each in found]
    more = f" and {len(places) - 8} more" if len(places) > 8 else ""
    return f"the 16 MiB from {', '.join(places[:8])}{more} on"


def _check_data(copy: survey.Copy) -> None:
    if not copy.data.is_file():
        raise errors.Damaged(path=copy.folder, why=f"it has no file {records.DATA}")
    if copy.data.stat().st_size < copy.volume.size:
        raise errors.Damaged(
            path=copy.data,
            why=f"it has {copy.data.stat().st_size} bytes, and the volume {copy.volume.size}; "
            "was it copied to the end?",
        )


def _locked(lock: Path) -> bool:
    try:
        fd = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # of a copy of the small files
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _data(fd: int, end: int) -> Iterator[Extent]:
    """(start, stop) of what is no hole."""
    offset = 0
    while offset < end:
        try:
            start = os.lseek(fd, offset, os.SEEK_DATA)
        except OSError as exc:
            if exc.errno != errno.ENXIO:  # a hole up to the end
                raise
            return
        offset = min(os.lseek(fd, start, os.SEEK_HOLE), end)
        if start < offset:
            yield start, offset


def _write(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view, offset)
        view, offset = view[count:], offset + count

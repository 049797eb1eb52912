"""The folder of one volume on one device (design.md §3): volume.json, data, intents, lock.

A folder named after a volume is always whole: it is made under another name and renamed, and it
goes the same way. Callers serialise; whether a generation may be written is theirs to judge.
"""

import errno
import logging
import os
import secrets
import shutil
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from appliance.common import durable, errors
from appliance.disk import records
from appliance.domain import intents, layout, model, sums
from appliance.protocol import record_file
from appliance.sds import allocation

logger = logging.getLogger(__name__)

INTENT = records.INTENT
JOIN = records.JOIN

_MAKING = ".new-"
_DELETING = ".deleted-"

VolumeFile = records.VolumeFile
is_id = records.is_id


class Replica:
    """The folder of volume ``volume_id`` in ``volumes``, which need not exist yet."""

    def __init__(self, volumes: Path, volume_id: str) -> None:
        self.volumes = volumes
        self.volume_id = checked_id(volume_id)
        self.folder = volumes / volume_id
        self.lock = self.folder / "lock"
        self.data = self.folder / "data"
        self.sums = self.folder / records.SUMS

    def read(self) -> VolumeFile | None:
        """What is durable, None if there is no folder. Raises errors.Damaged."""
        try:
            return record_file.read(self.folder / records.VOLUME, VolumeFile)
        except FileNotFoundError as exc:
            if self.folder.exists():
                raise errors.Damaged(
                    path=self.folder, why="it has no volume.json; it is left as it is"
                ) from exc
            return None

    def create(self, volume: VolumeFile, incarnations: Collection[str]) -> None:
        """Make the folder with everything in it. Durable on return; may be called again."""
        making = Replica(self.volumes, self.volume_id)
        making.folder = self.volumes / f"{_MAKING}{self.volume_id}"
        making.data = making.folder / "data"
        making.sums = making.folder / records.SUMS
        making.folder.mkdir(mode=0o700, exist_ok=True)
        (making.folder / "lock").touch(mode=0o600)
        making.grow(volume.size)
        making.add_intents(incarnations, volume.size)
        making.write(volume)
        making.folder.rename(self.folder)
        durable.sync_dir(self.volumes)

    def write(self, volume: VolumeFile) -> None:
        """Make ``volume`` durable in volume.json."""
        durable.replace_file(self.folder / records.VOLUME, record_file.to_bytes(volume))

    def grow(self, size: int) -> None:
        """Make ``data`` at least ``size`` bytes long, and ``sums`` with it, durably. They never
        get shorter."""
        for path, length in ((self.data, size), (self.sums, sums.file_length(size))):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if os.fstat(fd).st_size < length:
                    os.ftruncate(fd, length)
                    os.fsync(fd)
            finally:
                os.close(fd)

    def allocate(self, fd: int, volume: VolumeFile) -> None:
        """Allocate the own units of a thick volume, and only those. Raises errors.NoCapacity."""
        try:
            for offset, length in layout.own_extents(
                volume.own, volume.ncols, volume.size, volume.unit
            ):
                os.posix_fallocate(fd, offset, length)
            os.fsync(fd)
        except OSError as exc:
            if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            needed = layout.own_bytes(volume.own, volume.ncols, volume.size, volume.unit)
            space = os.statvfs(self.folder)
            raise errors.NoCapacity(
                why=f"{needed} bytes of the thick volume {volume.name} could not be allocated on "
                f"{self.volumes.parent}: {exc.strerror}; "
                f"{space.f_bavail * space.f_frsize} bytes are free"
            ) from exc

    def give_back(self, fd: int, volume: VolumeFile, start: int, runs: int) -> int:
        """Punch out ``runs`` runs of units of columns that left, from ``start`` on; how far that
        came. Nobody reads or writes them any more."""
        gone = frozenset(volume.leaving) - volume.own
        for offset, length in layout.own_extents(gone, volume.ncols, volume.size, volume.unit):
            if offset < start:
                continue
            if runs == 0:
                return offset
            allocation.punch_hole(fd, offset, length)
            runs -= 1
        return volume.size

    def intents(self) -> list[str]:
        """Incarnations that have an intent file here."""
        return records.intents(self.folder)

    def intent(self, incarnation: str) -> Path:
        return self.folder / f"{INTENT}{checked_id(incarnation)}"

    def add_intents(self, incarnations: Collection[str], size: int) -> None:
        """Have an intent file, long enough for ``size``, for every incarnation and for those
        that are there already. Their blocks are written, the folder synced (R3)."""
        length = intents.file_length(size)
        files = {self.intent(incarnation) for incarnation in incarnations}
        files |= {self.intent(incarnation) for incarnation in self.intents()}
        if (self.folder / JOIN).exists():
            files.add(self.folder / JOIN)
        for file in files:
            present = file.stat().st_size if file.exists() else 0
            if present < length:
                allocation.write_zeroes(file, length, start=present)
        durable.sync_dir(self.folder)

    def remove_intents(self, incarnations: Collection[str]) -> None:
        """Delete these intent files, durably, once the sums that they void are void."""
        present = [file for i in incarnations if (file := self.intent(i)).exists()]
        self.void_sums({r for file in present for r in intents.touched_regions(file.read_bytes())})
        for file in present:
            file.unlink(missing_ok=True)
        durable.sync_dir(self.folder)

    def void_sums(self, regions: Collection[int]) -> None:
        """From now on no sum says anything about ``regions``; durable on return."""
        if not regions:
            return
        fd = os.open(self.sums, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(fd).st_size // sums.SUM_BYTES * model.UNIT_BYTES
            for offset, length in sums.rows(regions, size):
                allocation.punch_hole(fd, offset, length)  # which a full device can do
            os.fdatasync(fd)
        finally:
            os.close(fd)

    def delete(self) -> None:
        """Leave nothing. The caller has proved that nobody writes here any more."""
        going = self.volumes / f"{_DELETING}{self.volume_id}-{secrets.token_hex(4)}"
        self.folder.rename(going)
        durable.sync_dir(self.volumes)
        shutil.rmtree(going)
        durable.sync_dir(self.volumes)


def checked_id(text: str) -> str:
    """``text`` if it may be part of a file's name here, else errors.Invalid."""
    if not is_id(text):
        raise errors.Invalid(what="id", why=f"{text[:80]!r} may not name a file")
    return text


def clean(volumes: Path) -> None:
    """Remove what a crash left half made or half deleted. Nothing else is touched."""
    for entry in list(os.scandir(volumes)):
        if entry.name.startswith((_MAKING, _DELETING)) and entry.is_dir(follow_symlinks=False):
            logger.info("leftover_removed path=%s", entry.path)
            shutil.rmtree(entry.path)
    durable.sync_dir(volumes)


def scan(volumes: Path) -> Iterator[str]:
    """Ids of the volumes that have a folder here, whole or not."""
    for entry in os.scandir(volumes):
        if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
            yield entry.name


def described(have: VolumeFile, new: VolumeFile) -> VolumeFile:
    """``new``, with what only ``have`` knows: what is allocated, and which columns left."""
    left = (frozenset(have.leaving) | have.own) - new.own
    return replace(
        new,
        allocated_bytes=have.allocated_bytes if new.own <= have.own else 0,
        leaving=tuple(sorted(left)),
    )


def in_state(volume: VolumeFile, state: model.ReplicaState) -> frozenset[int]:
    """Own columns of ``volume`` in ``state``."""
    return frozenset(column.index for column in volume.columns if column.state is state)

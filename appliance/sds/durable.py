"""Files that are on disk before a call returns, and the few system calls Python lacks.

Used by all of the SDS that keeps metadata. Nothing here knows what the files mean.
"""

import ctypes
import json
import os
from pathlib import Path
from typing import Any, TypeVar

from appliance.common import errors
from appliance.protocol import codec

T = TypeVar("T")

_KEEP_SIZE = 0x01
_PUNCH_HOLE = 0x02
_ZERO_RANGE = 0x10

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def replace_file(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Give ``path`` the content ``data``: the old one or the new one, never a part.

    Durable on return. Raises OSError; then the old content is still there.
    """
    temporary = path.with_name(path.name + ".tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        os.fchmod(fd, mode)
        _write_all(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    temporary.rename(path)
    sync_dir(path.parent)


def create_file(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Make ``path`` with ``data``; FileExistsError if it exists, whoever was first.

    Durable on return; a crash leaves nothing half made.
    """
    fd = os.open(path.parent, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, mode)
    try:
        _write_all(fd, data)
        os.fsync(fd)
        # src_dir_fd, of no use to an absolute path, makes Python call linkat(2), which follows.
        os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=fd, follow_symlinks=True)
    finally:
        os.close(fd)
    sync_dir(path.parent)


def write_zeroes(path: Path, length: int, start: int = 0) -> None:
    """Really write zeroes over ``[start, length)`` of ``path`` (made if missing), and fsync it.

    Written blocks, unlike allocated ones, can be overwritten on a full file system.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for offset in range(start, length, 1 << 20):
            os.pwrite(fd, bytes(min(1 << 20, length - offset)), offset)
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_dir(path: Path) -> None:
    """Make the names in ``path`` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_record(path: Path, cls: type[T]) -> T:
    """The ``cls`` in ``path``. FileNotFoundError if there is none, Damaged if it is no ``cls``."""
    try:
        return codec.from_json(cls, json.loads(path.read_bytes()))
    except (ValueError, errors.Invalid) as exc:
        raise errors.Damaged(path=path, why=f"{exc}; it is left as it is") from exc


def record_bytes(record: Any) -> bytes:
    """A dataclass as JSON that people can read, ending in a newline."""
    return json.dumps(codec.to_json(record), indent=1, sort_keys=True).encode() + b"\n"


def punch_hole(fd: int, offset: int, length: int) -> None:
    """Give the blocks of ``[offset, offset + length)`` back; it then reads as zeroes."""
    _fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, offset, length)


def zero_range(fd: int, offset: int, length: int) -> None:
    """Make ``[offset, offset + length)`` read as zeroes and keep (or get) its blocks."""
    try:
        _fallocate(fd, _ZERO_RANGE | _KEEP_SIZE, offset, length)
    except OSError:  # tmpfs and others cannot; writing does the same, slower
        os.pwrite(fd, bytes(length), offset)


def _fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    if _libc.fallocate(fd, mode, offset, length):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]

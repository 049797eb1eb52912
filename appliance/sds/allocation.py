"""Blocks of files: written, given back, zeroed in place. The system calls Python lacks.

Used wherever the SDS makes room or gives it back; see ``common.durable`` for whole files.
"""

import ctypes
import os
from pathlib import Path

_KEEP_SIZE = 0x01
_PUNCH_HOLE = 0x02
_ZERO_RANGE = 0x10

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


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

"""An nbdkit plugin like ``file``, for one moment of trouble at a time (``legs.LegServer.serve``).

In the folder of the server: where ``hold`` is, the next write waits until ``go`` is there; where
``no-flush`` is, the next flush fails, once, as the kernel reports a lost page.
"""

import errno
import os
import time
from pathlib import Path

import nbdkit

API_VERSION = 2

_told: dict[str, str] = {}


def config(key: str, value: str) -> None:
    _told[key] = value


def thread_model() -> int:
    return nbdkit.THREAD_MODEL_PARALLEL


def open(readonly: bool) -> int:
    return os.open(Path(_told["dir"], nbdkit.export_name()), os.O_RDWR)


def close(file: int) -> None:
    os.close(file)


def get_size(file: int) -> int:
    return os.fstat(file).st_size


def can_fua(_file: int) -> int:
    return nbdkit.FUA_NATIVE


def pread(file: int, buf: bytearray, offset: int, _flags: int) -> None:
    buf[:] = os.pread(file, len(buf), offset)


def pwrite(file: int, buf: bytes, offset: int, _flags: int) -> None:
    if _taken("hold", os.fstat(file).st_size > 1 << 20):
        while not Path(_told["folder"], "go").exists():
            time.sleep(0.01)
    os.pwrite(file, buf, offset)


def flush(_file: int, _flags: int) -> None:
    if _taken("no-flush"):
        nbdkit.set_error(errno.EIO)
        raise OSError(errno.EIO, "a page was lost")


def _taken(name: str, here: bool = True) -> bool:
    """Whether the trouble was ordered; only once for each order."""
    if not here:
        return False
    try:
        Path(_told["folder"], name).unlink()
    except FileNotFoundError:
        return False
    return True

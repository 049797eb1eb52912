"""Files that are on disk before a call returns. Nothing here knows what the files mean."""

import contextlib
import os
from pathlib import Path


def replace_file(path: Path, data: bytes, mode: int = 0o600, sync: bool = True) -> None:
    """Give ``path`` the content ``data``: the old one or the new one, never a part.

    With ``sync`` it is durable on return. Raises OSError; then the old content is still there.
    """
    temporary = path.with_name(path.name + ".tmp")
    # Never the one somebody else may have open, or may have made for more eyes than ``mode``.
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        os.fchmod(fd, mode)
        _write_all(fd, data)
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)
    temporary.rename(path)
    if sync:
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


def sync_dir(path: Path) -> None:
    """Make the names in ``path`` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]

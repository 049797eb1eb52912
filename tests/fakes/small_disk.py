"""Small real file systems on loop devices, for tests that run as root."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def _run(*argv: object) -> None:
    subprocess.run([str(word) for word in argv], check=True, capture_output=True, timeout=60)


@contextmanager
def ext4(folder: Path, size: int, *options: str) -> Iterator[Path]:
    """A mounted ext4 of ``size`` bytes, none of it reserved for root."""
    with _mounted(folder, size, "mkfs.ext4", "-q", "-m", "0", *options) as mount:
        yield mount


@contextmanager
def xfs(folder: Path, size: int) -> Iterator[Path]:
    """A mounted XFS of ``size`` bytes, 300 MB at least."""
    with _mounted(folder, size, "mkfs.xfs", "-q") as mount:
        yield mount


@contextmanager
def _mounted(folder: Path, size: int, *mkfs: str) -> Iterator[Path]:
    image, mount = folder / "disk.img", folder / "mnt"
    mount.mkdir(parents=True)
    image.touch()
    with image.open("r+b") as file:
        file.truncate(size)
    _run(*mkfs, image)
    _run("mount", "-o", "loop", image, mount)
    try:
        yield mount
    finally:
        _run("umount", mount)


@contextmanager
def tmpfs(folder: Path, size: int) -> Iterator[Path]:
    """A mounted tmpfs of ``size`` bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)
    try:
        yield folder
    finally:
        _run("umount", folder)

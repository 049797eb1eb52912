"""What tests of block devices do: run tools, mount, fsync, and look for what was left."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.fakes import sdc_host


def run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout


@contextlib.contextmanager
def mounted(device: str, folder: Path, *options: str) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    run("mount", *options, device, str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=False, timeout=60)


def fsync(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        os.write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)


def nothing_is_left(folder: Path) -> bool:
    return not (
        sdc_host.loops_under(folder)
        or sdc_host.mounts_under(folder)
        or sdc_host.pids_with(str(folder))
    )

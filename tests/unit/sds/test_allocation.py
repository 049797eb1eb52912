"""Blocks written, given back, zeroed in place."""

import os
from pathlib import Path

import pytest

from appliance.sds import allocation


def test_zeroes_are_written_blocks_and_keep_what_is_before(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"x" * 4096)
    allocation.write_zeroes(file, 3 << 20, start=4096)
    data = file.read_bytes()
    assert data == b"x" * 4096 + bytes((3 << 20) - 4096)
    assert file.stat().st_blocks * 512 >= 3 << 20


@pytest.mark.parametrize("call", [allocation.punch_hole, allocation.zero_range])
def test_ranges_read_as_zeroes(tmp_path: Path, call) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"x" * 16384)
    fd = os.open(file, os.O_RDWR)
    call(fd, 4096, 8192)
    os.close(fd)
    assert file.read_bytes() == b"x" * 4096 + bytes(8192) + b"x" * 4096


def test_hole_gives_blocks_back_and_zero_range_keeps_them(tmp_path: Path) -> None:
    used = []
    for call in (allocation.punch_hole, allocation.zero_range):
        file = tmp_path / call.__name__
        file.write_bytes(os.urandom(1 << 20))
        fd = os.open(file, os.O_RDWR)
        os.fsync(fd)
        call(fd, 0, 1 << 20)
        used.append(os.fstat(fd).st_blocks * 512)
        os.close(fd)
    assert used[0] < 8192
    assert used[1] >= 1 << 20


def test_zero_range_writes_where_the_file_system_cannot() -> None:
    fd = os.memfd_create("tmpfs")
    os.write(fd, b"x" * 8192)
    allocation.zero_range(fd, 0, 4096)
    assert os.pread(fd, 8192, 0) == bytes(4096) + b"x" * 4096
    os.close(fd)


def test_failed_call_says_why(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    fd = os.open(tmp_path / "f", os.O_RDONLY)
    with pytest.raises(OSError, match="Bad file descriptor"):
        allocation.punch_hole(fd, 0, 4096)
    os.close(fd)

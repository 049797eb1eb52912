"""Durable files: whole or not at all, never the second to come."""

import os
from pathlib import Path

import pytest

from appliance.common import errors
from appliance.sds import durable, registry


def test_replace_gives_new_content_and_mode(tmp_path: Path) -> None:
    file = tmp_path / "f"
    durable.replace_file(file, b"one")
    durable.replace_file(file, b"two", 0o640)
    assert file.read_bytes() == b"two"
    assert file.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in tmp_path.iterdir()] == ["f"]


def test_failed_replace_keeps_the_old_content(tmp_path: Path) -> None:
    file = tmp_path / "f"
    durable.replace_file(file, b"one")
    (tmp_path / "f.tmp").mkdir()
    with pytest.raises(OSError, match="directory"):
        durable.replace_file(file, b"two")
    assert file.read_bytes() == b"one"


def test_create_is_for_the_first_one_only(tmp_path: Path) -> None:
    file = tmp_path / "f"
    durable.create_file(file, b"one")
    with pytest.raises(FileExistsError):
        durable.create_file(file, b"two")
    assert file.read_bytes() == b"one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["f"]


def test_zeroes_are_written_blocks_and_keep_what_is_before(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"x" * 4096)
    durable.write_zeroes(file, 3 << 20, start=4096)
    data = file.read_bytes()
    assert data == b"x" * 4096 + bytes((3 << 20) - 4096)
    assert file.stat().st_blocks * 512 >= 3 << 20


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', '{"id": 1, "secret": "s"}', "{}"])
def test_damaged_record_is_named_and_left(tmp_path: Path, text: str) -> None:
    file = tmp_path / "f"
    file.write_text(text)
    with pytest.raises(errors.Damaged, match="left as it is"):
        durable.read_record(file, registry.Identity)
    assert file.read_text() == text


def test_record_comes_back(tmp_path: Path) -> None:
    identity = registry.Identity("a", "b", "c")
    durable.replace_file(tmp_path / "f", durable.record_bytes(identity))
    assert durable.read_record(tmp_path / "f", registry.Identity) == identity


@pytest.mark.parametrize("call", [durable.punch_hole, durable.zero_range])
def test_ranges_read_as_zeroes(tmp_path: Path, call) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"x" * 16384)
    fd = os.open(file, os.O_RDWR)
    call(fd, 4096, 8192)
    os.close(fd)
    assert file.read_bytes() == b"x" * 4096 + bytes(8192) + b"x" * 4096


def test_hole_gives_blocks_back_and_zero_range_keeps_them(tmp_path: Path) -> None:
    used = []
    for call in (durable.punch_hole, durable.zero_range):
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
    durable.zero_range(fd, 0, 4096)
    assert os.pread(fd, 8192, 0) == bytes(4096) + b"x" * 4096
    os.close(fd)


def test_failed_call_says_why(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    fd = os.open(tmp_path / "f", os.O_RDONLY)
    with pytest.raises(OSError, match="Bad file descriptor"):
        durable.punch_hole(fd, 0, 4096)
    os.close(fd)

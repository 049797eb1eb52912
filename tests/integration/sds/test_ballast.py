"""The ballast: given up step by step when the disk is full, and taken back."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.sds import ballast
from tests.fakes import small_disk

MIB = 1 << 20

pytestmark = pytest.mark.root


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk.tmpfs(tmp_path / "ram", 8 * MIB) as path:
        yield path


@pytest.fixture
def held(disk: Path) -> ballast.Ballast:
    made = ballast.Ballast(disk / "ballast", 4 * MIB)
    assert made.restore()
    return made


def _fill(disk: Path) -> None:
    with pytest.raises(OSError, match="No space"), (disk / "filler").open("wb", 0) as file:
        while True:
            file.write(bytes(4096))


def test_metadata_gets_room_on_a_full_disk(disk: Path, held: ballast.Ballast) -> None:
    _fill(disk)
    held.write(lambda: (disk / "meta").write_bytes(b"x" * 2 * MIB) and None)
    assert (disk / "meta").stat().st_size == 2 * MIB
    assert (disk / "ballast").stat().st_size == 2 * MIB
    assert not held.restore()
    (disk / "filler").unlink()
    assert held.restore()
    assert (disk / "ballast").stat().st_blocks * 512 == 4 * MIB


def test_without_ballast_left_the_error_goes_up(disk: Path, held: ballast.Ballast) -> None:
    _fill(disk)
    with pytest.raises(OSError, match="No space"):
        held.write(lambda: (disk / "meta").write_bytes(b"x" * 5 * MIB) and None)
    none = ballast.Ballast(disk / "no-such-file", MIB)
    with pytest.raises(OSError, match="No space"):
        none.write(lambda: (disk / "more").write_bytes(b"x" * 5 * MIB) and None)


def test_other_errors_go_up_at_once(disk: Path, held: ballast.Ballast) -> None:
    def _broken() -> None:
        raise OSError(errno.EIO, "on purpose")

    with pytest.raises(OSError, match="on purpose"):
        held.write(_broken)
    assert (disk / "ballast").stat().st_size == 4 * MIB


def test_plain_write_gives_nothing_up(disk: Path, held: ballast.Ballast) -> None:
    held.write(lambda: (disk / "meta").write_bytes(b"x") and None)
    assert (disk / "ballast").stat().st_size == 4 * MIB

"""The demo's own tools: copying and verifying a tree, and comparing copies on disk."""

from pathlib import Path
from typing import Any

import pytest

from appliance.cli.demo import copies, tree

MIB = 1024**2


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "b").mkdir(parents=True)
    (folder / "a").write_bytes(b"a" * 100)
    (folder / "b" / "large").write_bytes(b"x" * (9 * MIB + 1))
    (folder / "b" / "none").touch()
    (folder / "link").symlink_to("a")
    return folder


def test_choose_takes_regular_files_up_to_the_limit(source: Path) -> None:
    assert [str(path) for path, _ in tree.choose(source, 10 * MIB)] == ["a", "b/large", "b/none"]
    assert [str(path) for path, _ in tree.choose(source, 100)] == ["a", "b/none"]


def test_what_was_copied_is_verified(source: Path, tmp_path: Path) -> None:
    files = tree.choose(source, 10 * MIB)
    counted: list[int] = []
    sums = tree.copy(source, tmp_path / "target", [path for path, _ in files], counted.append)
    assert sum(counted) == sum(size for _, size in files)
    assert tree.damaged(tmp_path / "target", sums, counted.append) == []


def test_a_changed_and_a_missing_file_are_found(source: Path, tmp_path: Path) -> None:
    paths = [path for path, _ in tree.choose(source, 10 * MIB)]
    sums = tree.copy(source, tmp_path / "target", paths, lambda count: None)
    with (tmp_path / "target" / "b" / "large").open("r+b") as file:
        file.seek(5 * MIB)
        file.write(b"y")
    (tmp_path / "target" / "a").unlink()
    bad = tree.damaged(tmp_path / "target", sums, lambda count: None)
    assert [str(path) for path in bad] == ["a", "b/large"]


def test_a_pulse_writes_and_remembers_the_longest(tmp_path: Path) -> None:
    with tree.Pulse(tmp_path / "pulse") as pulse:
        while not pulse.writes:
            pass
    assert pulse.longest_s > 0


def test_a_pulse_that_cannot_write_says_so_at_the_end(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), tree.Pulse(tmp_path / "none" / "pulse"):
        pass


def _volume(tmp_path: Path) -> dict[str, Any]:
    """Two columns on three disks: column 0 on a and b, column 1 on b and c."""
    for disk in "abc":
        folder = tmp_path / disk / "volumes" / "v"
        folder.mkdir(parents=True)
        with (folder / "data").open("wb") as file:
            file.truncate(5 * MIB)
    places = [(0, "a"), (0, "b"), (1, "b"), (1, "c")]
    return {
        "id": "v",
        "size_bytes": 5 * MIB,
        "columns": 2,
        "replicas": [{"column": col, "device_path": str(tmp_path / disk)} for col, disk in places],
    }


def _write(tmp_path: Path, disk: str, offset: int) -> None:
    with (tmp_path / disk / "volumes" / "v" / "data").open("r+b") as file:
        file.seek(offset)
        file.write(b"!")


def test_copies_that_are_equal(tmp_path: Path) -> None:
    volume = _volume(tmp_path)
    for disk in "ab":
        _write(tmp_path, disk, 4 * MIB + 17)
    assert copies.differences(volume) == []


def test_a_difference_is_named_by_column_and_offset(tmp_path: Path) -> None:
    volume = _volume(tmp_path)
    _write(tmp_path, "c", 3 * MIB + 5)
    (found,) = copies.differences(volume)
    assert found.startswith(f"column 1, offset {3 * MIB}: ")


def test_units_of_other_columns_do_not_count(tmp_path: Path) -> None:
    volume = _volume(tmp_path)
    _write(tmp_path, "a", MIB)  # column 1 does not live on a
    assert copies.differences(volume) == []

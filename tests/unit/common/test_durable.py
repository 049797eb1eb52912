"""Durable files: whole or not at all, never the second to come."""

from pathlib import Path

import pytest

from appliance.common import durable


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


@pytest.mark.parametrize("sync", [True, False])
def test_a_file_is_replaced_whole_and_private_whatever_was_left_over(
    tmp_path: Path, sync: bool
) -> None:
    file = tmp_path / "f"
    (tmp_path / "f.tmp").write_text("left over")
    (tmp_path / "f.tmp").chmod(0o644)
    for data in (b"one", b"two"):
        durable.replace_file(file, data, sync=sync)
        assert file.read_bytes() == data
    assert file.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["f"]

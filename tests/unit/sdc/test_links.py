from pathlib import Path

import pytest

from appliance.common import errors
from appliance.sdc import links


def test_a_link_is_made_and_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "dev" / "basalt"
    assert links.put(folder, "vol", "/dev/loop1") == str(folder / "vol")
    links.put(folder, "vol", "/dev/loop2")
    assert (folder / "vol").readlink() == Path("/dev/loop2")
    assert [entry.name for entry in folder.iterdir()] == ["vol"]


def test_a_link_left_half_made_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / ".vol.new").symlink_to("/dev/loop9")
    links.put(tmp_path, "vol", "/dev/loop1")
    assert (tmp_path / "vol").readlink() == Path("/dev/loop1")


def test_a_file_of_that_name_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "vol").write_text("precious")
    with pytest.raises(errors.Conflict, match="is no link"):
        links.put(tmp_path, "vol", "/dev/loop1")
    assert (tmp_path / "vol").read_text() == "precious"


def test_only_the_own_link_is_removed(tmp_path: Path) -> None:
    link = links.put(tmp_path, "vol", "/dev/loop1")
    links.drop(link, "/dev/loop2")
    assert (tmp_path / "vol").is_symlink()
    links.drop(link, "/dev/loop1")
    links.drop(link, "/dev/loop1")
    links.drop("", "")
    assert not (tmp_path / "vol").is_symlink()


def test_udevs_link_to_the_same_device_is_left_and_removed_as_ones_own(tmp_path: Path) -> None:
    device = tmp_path / "nbd0"
    folder = tmp_path / "basalt"
    folder.mkdir()
    (folder / "vol").symlink_to("../nbd0")
    links.put(folder, "vol", str(device))
    assert (folder / "vol").readlink() == Path("../nbd0")
    links.drop(str(folder / "vol"), str(device))
    assert not (folder / "vol").is_symlink()

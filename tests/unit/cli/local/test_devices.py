"""Devices of a fixed size: real file systems in files, mounted and gone again."""

import os
from pathlib import Path

import pytest

from appliance.cli.local import devices, mounts, state
from appliance.common import errors, units


def _cluster(tmp_path: Path, size: int) -> state.Cluster:
    made = state.new(size, tmp_path / "devices", ())
    return state.Cluster(made.id, size, made.device_dir, devices.plan(made, 2, 1))


def test_directories_are_made_and_removed(tmp_path: Path) -> None:
    cluster = _cluster(tmp_path, 0)
    devices.make(cluster)
    devices.make(cluster)
    assert sorted(one.name for one in (tmp_path / "devices").iterdir()) == ["sds1", "sds2"]
    devices.unmount(cluster)
    devices.remove(cluster)
    assert not (tmp_path / "devices").exists()


def test_what_else_lies_there_is_kept(tmp_path: Path) -> None:
    cluster = _cluster(tmp_path, 0)
    devices.make(cluster)
    (tmp_path / "devices" / "mine").touch()
    devices.remove(cluster)
    assert [one.name for one in (tmp_path / "devices").iterdir()] == ["mine"]


@pytest.mark.root
@pytest.mark.parametrize("size", [128 * units.MIB, 320 * units.MIB], ids=["ext4", "xfs"])
def test_a_size_gives_a_file_system_of_that_size(tmp_path: Path, size: int) -> None:
    cluster = _cluster(tmp_path, size)
    devices.make(cluster)
    try:
        (device, _) = cluster.devices
        stat = os.statvfs(device.path)
        assert 0.7 * size < stat.f_blocks * stat.f_frsize < size
        assert len(mounts.loops_over(tmp_path)) == 2
        with pytest.raises(errors.InUse):
            devices.remove(cluster)
    finally:
        devices.unmount(cluster)
    assert mounts.under(tmp_path) == []
    assert mounts.loops_over(tmp_path) == {}
    devices.remove(cluster)
    assert not (tmp_path / "devices").exists()


@pytest.mark.root
def test_data_survives_unmount_and_make(tmp_path: Path) -> None:
    cluster = _cluster(tmp_path, 128 * units.MIB)
    devices.make(cluster)
    (Path(cluster.devices[0].path) / "kept").write_text("yes", encoding="ascii")
    devices.unmount(cluster)
    devices.make(cluster)
    try:
        assert (Path(cluster.devices[0].path) / "kept").read_text(encoding="ascii") == "yes"
    finally:
        devices.unmount(cluster)


@pytest.mark.root
def test_a_mount_in_use_is_waited_for_and_then_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounts, "_RELEASE_S", 0.3)
    cluster = _cluster(tmp_path, 128 * units.MIB)
    devices.make(cluster)
    point = Path(cluster.devices[0].path)
    with (point / "open").open("w"), pytest.raises(errors.InUse, match=str(point)):
        mounts.release(point)
    number = next(one.number for one in mounts.mounts() if one.point == point)
    assert mounts.points_of({number}) == [point]
    devices.unmount(cluster)


def test_a_tool_that_fails_or_is_missing_is_named() -> None:
    with pytest.raises(errors.Unavailable, match="mount /no/such/file failed"):
        devices.run(["mount", "/no/such/file"])
    with pytest.raises(errors.Unavailable, match="no mkfs-of-tomorrow on this host"):
        devices.run(["mkfs-of-tomorrow"])

"""Volumes as loop devices: real nbdkit, nbdfuse, loop devices and file systems."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes import sdc_host, sdc_tools

pytestmark = pytest.mark.root


def test_a_volume_is_mapped_used_and_unmapped_cleanly(
    host: sdc_host.SdcHost, tmp_path: Path
) -> None:
    ident = host.map("data1")
    report = host.attached(ident)
    assert report.backend == "fuse"
    assert report.device.startswith("/dev/loop")
    assert report.uri == f"nbd+unix:///?socket={tmp_path}/run/{ident}/nbd.sock"
    assert (tmp_path / "dev" / "data1").readlink() == Path(report.device)

    sdc_tools.run("mkfs.ext4", "-q", "-F", report.device)
    with sdc_tools.mounted(report.device, tmp_path / "mnt") as mnt:
        sdc_tools.fsync(mnt / "file", b"hello" * 1000)
    with sdc_tools.mounted(report.link, tmp_path / "mnt") as mnt:
        assert (mnt / "file").read_bytes() == b"hello" * 1000

    report = host.detached(ident)
    assert report.plugin is not None
    assert report.plugin.clean
    assert report.plugin.ended
    assert (report.device, report.link, report.error) == ("", "", "")
    assert not (tmp_path / "dev" / "data1").is_symlink()
    sdc_host.until(lambda: sdc_tools.nothing_is_left(tmp_path))


def test_an_fsync_on_the_file_system_reaches_nbd_flush(
    host: sdc_host.SdcHost, tmp_path: Path
) -> None:
    ident = host.map()
    device = host.attached(ident).device
    assert Path(f"/sys/block/{Path(device).name}/loop/dio").read_text().strip() == "1"
    sdc_tools.run("mkfs.ext4", "-q", "-F", device)
    with sdc_tools.mounted(device, tmp_path / "mnt") as mnt:
        sdc_tools.fsync(mnt / "warm", b"1")
        for _ in range(3):
            before = host.stats(ident)
            sdc_tools.fsync(mnt / "file", os.urandom(8192))
            # Both are in the plugin before fsync returns.
            after = host.stats(ident)
            assert after.flushes > before.flushes
            assert after.write_bytes >= before.write_bytes + 8192


def test_a_flush_of_the_raw_device_reaches_nbd_flush(host: sdc_host.SdcHost) -> None:
    ident = host.map()
    device = host.attached(ident).device
    before = host.stats(ident).flushes
    sdc_tools.fsync(Path(device), b"x" * 4096)
    assert host.stats(ident).flushes > before


def test_discard_and_zeroing_reach_the_plugin(host: sdc_host.SdcHost, tmp_path: Path) -> None:
    ident = host.map()
    device = host.attached(ident).device
    Path(device).write_bytes(b"y" * 8192)
    before = host.stats(ident)
    sdc_tools.run("blkdiscard", "--offset", "0", "--length", "1048576", device)
    assert host.stats(ident).trims > before.trims
    before = host.stats(ident)
    sdc_tools.run("blkdiscard", "--zeroout", "--offset", "1048576", "--length", "1048576", device)
    after = host.stats(ident)
    assert after.writes > before.writes
    # A million zero bytes did not travel.
    assert after.write_bytes == before.write_bytes


def test_a_mounted_device_is_not_torn_down(host: sdc_host.SdcHost, tmp_path: Path) -> None:
    ident = host.map()
    device = host.attached(ident).device
    sdc_tools.run("mkfs.ext4", "-q", "-F", device)
    with sdc_tools.mounted(device, tmp_path / "m n t") as mnt:
        host.change(ident, wanted=False)
        report = host.wait(ident, lambda r: bool(r.error))
        assert report.state == "attached"
        assert report.device == device
        assert f"mounted at {mnt}; unmount it first" in report.error
        sdc_tools.fsync(mnt / "still", b"works")
    report = host.wait(ident, lambda r: r.state == "detached")
    assert report.plugin is not None
    assert report.plugin.clean


def test_a_device_open_in_another_program_is_not_torn_down(host: sdc_host.SdcHost) -> None:
    ident = host.map()
    device = host.attached(ident).device
    holder = subprocess.Popen(
        [sys.executable, "-c", f"f=open({device!r},'rb');print(flush=True);input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        host.change(ident, wanted=False)
        report = host.wait(ident, lambda r: bool(r.error))
        assert f"(pid {holder.pid})" in report.error
        assert report.device == device
    finally:
        holder.communicate(b"\n", timeout=20)
    host.wait(ident, lambda r: r.state == "detached")


def test_a_read_only_mapping_refuses_writes(host: sdc_host.SdcHost) -> None:
    ident = host.map(read_only=True)
    device = host.attached(ident).device
    assert Path(f"/sys/block/{Path(device).name}/ro").read_text().strip() == "1"
    with pytest.raises(PermissionError):
        sdc_tools.fsync(Path(device), b"x")
    host.detached(ident)


def test_the_link_follows_a_rename(host: sdc_host.SdcHost, tmp_path: Path) -> None:
    ident = host.map("before")
    device = host.attached(ident).device
    host.change(ident, volume_name="after")
    report = host.wait(ident, lambda r: r.link.endswith("/after"))
    assert Path(report.link).readlink() == Path(device)
    assert [entry.name for entry in (tmp_path / "dev").iterdir()] == ["after"]


def test_many_devices_at_once_share_the_loop_numbers(
    host: sdc_host.SdcHost, tmp_path: Path
) -> None:
    idents = [host.map(f"vol{index}") for index in range(5)]
    devices = {host.attached(ident).device for ident in idents}
    assert len(devices) == 5
    for ident in idents:
        host.change(ident, wanted=False)
    for ident in idents:
        host.detached(ident)
    sdc_host.until(lambda: sdc_tools.nothing_is_left(tmp_path))

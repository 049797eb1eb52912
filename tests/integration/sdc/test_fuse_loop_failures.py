"""Loop devices when their plugin, nbdfuse, the agent or the host dies, hangs or is cut off."""

import contextlib
import errno
import json
import os
import signal
import threading
from pathlib import Path

import pytest

from tests.fakes import sdc_host, sdc_tools

pytestmark = pytest.mark.root

#: What a program hears from ext4 on a device that is gone: later on, that it is read-only.
LOST = "|".join(os.strerror(code) for code in (errno.EIO, errno.EROFS))


def test_a_plugin_that_dies_is_replaced_with_its_device(host: sdc_host.SdcHost) -> None:
    ident = host.map()
    first = host.attached(ident)
    os.kill(host.plugin_pid(ident), signal.SIGKILL)
    host.wait(ident, lambda r: r.incarnation != first.incarnation)
    second = host.attached(ident)
    assert second.uri == first.uri
    sdc_tools.fsync(Path(second.device), b"again")


def test_a_dead_device_that_is_mounted_is_reported_and_replaced_when_free(
    host: sdc_host.SdcHost, tmp_path: Path
) -> None:
    ident = host.map()
    first = host.attached(ident)
    sdc_tools.run("mkfs.ext4", "-q", "-F", first.device)
    with sdc_tools.mounted(first.device, tmp_path / "mnt") as mnt:
        os.kill(host.plugin_pid(ident), signal.SIGKILL)
        report = host.wait(ident, lambda r: "unmount" in r.error)
        assert report.state == "failed"
        assert report.incarnation != first.incarnation
        with pytest.raises(OSError, match=LOST):
            sdc_tools.fsync(mnt / "lost", b"x")
    report = host.attached(ident)
    assert report.error == ""
    sdc_tools.fsync(Path(report.device), b"again")


def test_a_dead_nbdfuse_is_replaced_under_the_same_plugin(
    host: sdc_host.SdcHost, tmp_path: Path
) -> None:
    ident = host.map()
    first = host.attached(ident)
    sdc_tools.fsync(Path(first.device), b"kept")
    [nbdfuse] = sdc_host.pids_with(f"{tmp_path}/run/{ident}/fuse/")
    os.kill(nbdfuse, signal.SIGKILL)
    host.wait(ident, lambda r: r.state == "starting")
    second = host.attached(ident)
    assert second.incarnation == first.incarnation
    with Path(second.device).open("rb") as disk:
        assert disk.read(4) == b"kept"


def test_force_fails_the_io_of_a_mounted_device(host: sdc_host.SdcHost, tmp_path: Path) -> None:
    ident = host.map()
    device = host.attached(ident).device
    sdc_tools.run("mkfs.ext4", "-q", "-F", device)
    with sdc_tools.mounted(device, tmp_path / "mnt") as mnt:
        report = host.detached(ident, force=True)
        assert report.plugin is not None
        assert not report.plugin.clean
        with pytest.raises(OSError, match=LOST):
            sdc_tools.fsync(mnt / "lost", b"x")
    # The kernel kept the loop device for the mount only.
    sdc_host.until(lambda: sdc_tools.nothing_is_left(tmp_path))


def test_force_ends_a_device_whose_plugin_hangs(host: sdc_host.SdcHost, tmp_path: Path) -> None:
    ident = host.map()
    other = host.map("other")
    device = host.attached(ident).device
    host.attached(other)
    pid = host.plugin_pid(ident)
    os.kill(pid, signal.SIGSTOP)
    writer = threading.Thread(target=lambda: _ignoring(sdc_tools.fsync, Path(device), b"stuck"))
    writer.start()
    host.change(ident, wanted=False)
    host.detached(other)  # one that hangs does not hold up the others
    host.detached(ident, force=True)
    writer.join(20)
    assert not writer.is_alive()
    sdc_host.until(lambda: sdc_tools.nothing_is_left(tmp_path))


def _ignoring(body, *args: object) -> None:  # type: ignore[no-untyped-def]
    with contextlib.suppress(OSError):
        body(*args)


def test_a_restarted_agent_takes_plugin_and_device_up(
    host: sdc_host.SdcHost, tmp_path: Path
) -> None:
    ident = host.map()
    first = host.attached(ident)
    pid = host.plugin_pid(ident)
    sdc_tools.run("mkfs.ext4", "-q", "-F", first.device)
    with sdc_tools.mounted(first.device, tmp_path / "mnt") as mnt:
        host.restart_agent()
        sdc_tools.fsync(mnt / "file", b"no agent needed")
        second = host.attached(ident)
        assert (second.device, second.incarnation) == (first.device, first.incarnation)
        assert host.plugin_pid(ident) == pid
    report = host.detached(ident)
    assert report.plugin is not None
    assert report.plugin.clean
    sdc_host.until(lambda: sdc_tools.nothing_is_left(tmp_path))


def test_an_agent_that_died_between_device_and_record_finds_it(
    host: sdc_host.SdcHost, tmp_path: Path
) -> None:
    ident = host.map()
    host.attached(ident)
    state = tmp_path / "run" / ident / "state.json"
    host.mappings.close()
    state.write_text(json.dumps({**json.loads(state.read_text()), "device": None}))
    host.restart_agent()
    report = host.attached(ident)
    assert sdc_host.loops_under(tmp_path) == [report.device]
    assert len(sdc_host.mounts_under(tmp_path)) == 1


def test_after_a_reboot_nothing_recorded_is_believed(
    host: sdc_host.SdcHost, tmp_path: Path
) -> None:
    ident = host.map()
    first = host.attached(ident)
    host.mappings.close()
    for pid in sdc_host.pids_with(str(tmp_path)):
        os.kill(pid, signal.SIGKILL)
    sdc_host.clean_up(tmp_path)
    host.restart_agent(boot_id="boot-2")
    assert host.mappings.reports() == ()
    second = host.attached(ident)
    assert second.incarnation != first.incarnation

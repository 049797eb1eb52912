"""Volumes as /dev/nbdX, with a kernel that has nbd: run these there."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.sdc.attach import nbd_netlink
from tests.fakes import sdc_host

pytestmark = pytest.mark.root

#: Only reached by what hangs: the machine's processor is translated.
_LIMIT_S = 180


@pytest.fixture
def host(tmp_path: Path) -> Iterator[sdc_host.SdcHost]:
    # A request in flight on a socket that died is sent again after the first of these.
    with sdc_host.SdcHost(tmp_path, backend="auto", nbd_timeout_s=3, nbd_dead_timeout_s=60) as made:
        yield made
    with nbd_netlink.Nbd() as family:
        for index, connected in family.status().items():
            if connected:
                family.disconnect_device(index)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, timeout=_LIMIT_S)


def _connected() -> list[int]:
    with nbd_netlink.Nbd() as family:
        return [index for index, connected in family.status().items() if connected]


def test_a_volume_is_mapped_used_and_unmapped_cleanly(
    host: sdc_host.SdcHost, tmp_path: Path
) -> None:
    ident = host.map("data1")
    report = host.attached(ident)
    assert (report.backend, report.backend_reason) == ("nbd", "the kernel has nbd")
    assert report.device.startswith("/dev/nbd")
    name = Path(report.device).name
    assert Path(f"/sys/block/{name}/backend").read_text().strip() == ident
    assert int(Path(f"/sys/block/{name}/size").read_text()) * 512 == 64 << 20
    _run("mkfs.ext4", "-q", "-F", report.device)
    mnt = tmp_path / "mnt"
    mnt.mkdir()
    _run("mount", report.link, str(mnt))
    before = host.stats(ident).flushes
    (mnt / "file").write_bytes(b"hello" * 1000)
    _run("sync", str(mnt / "file"))
    sdc_host.until(lambda: host.stats(ident).flushes > before)
    host.change(ident, wanted=False)
    assert f"mounted at {mnt}" in host.wait(ident, lambda r: bool(r.error)).error
    _run("umount", str(mnt))
    report = host.wait(ident, lambda r: r.state == "detached")
    assert report.plugin is not None
    assert report.plugin.clean
    assert _connected() == []


def test_a_mounted_device_grows_with_its_volume(host: sdc_host.SdcHost, tmp_path: Path) -> None:
    ident = host.map()
    device = host.attached(ident).device
    _run("mkfs.ext4", "-q", "-F", device)
    mnt = tmp_path / "mnt"
    mnt.mkdir()
    _run("mount", device, str(mnt))
    (mnt / "file").write_bytes(b"before" * 1000)
    larger = 128 << 20
    order = host.orders[ident]
    made = sdc_host.volume_map(order.volume_id, larger, generation=2)
    host.change(ident, size=larger, map=made)
    host.wait(ident, lambda r: r.device_size == larger)
    _run("resize2fs", device)
    assert os.statvfs(mnt).f_blocks * os.statvfs(mnt).f_frsize > 100 << 20
    (mnt / "large").write_bytes(b"after " * (80 << 20 >> 3))
    _run("umount", str(mnt))
    _run("e2fsck", "-fn", device)
    host.detached(ident)


def test_two_volumes_are_two_devices(host: sdc_host.SdcHost) -> None:
    idents = [host.map(name) for name in ("one", "two")]
    devices = {host.attached(ident).device for ident in idents}
    assert len(devices) == 2
    for ident in idents:
        host.detached(ident)
    assert _connected() == []


def test_trim_zero_and_read_only_are_the_servers(host: sdc_host.SdcHost) -> None:
    ident = host.map()
    device = host.attached(ident).device
    before = host.stats(ident).trims
    _run("blkdiscard", "-f", "-o", "0", "-l", "1048576", device)
    sdc_host.until(lambda: host.stats(ident).trims > before)
    host.detached(ident)
    locked = host.map("ro", read_only=True)
    name = Path(host.attached(locked).device).name
    assert Path(f"/sys/block/{name}/ro").read_text().strip() == "1"


def test_a_plugin_that_dies_is_replaced_under_a_mounted_file_system(
    host: sdc_host.SdcHost, tmp_path: Path
) -> None:
    ident = host.map()
    first = host.attached(ident)
    _run("mkfs.ext4", "-q", "-F", first.device)
    mnt = tmp_path / "mnt"
    mnt.mkdir()
    _run("mount", first.device, str(mnt))
    os.kill(host.plugin_pid(ident), signal.SIGKILL)
    failures: list[BaseException] = []

    def _write() -> None:
        try:
            (mnt / "file").write_bytes(b"survives" * 4096)
            _run("sync", str(mnt / "file"))
        except (OSError, subprocess.SubprocessError) as exc:
            failures.append(exc)

    writer = threading.Thread(target=_write)
    writer.start()
    host.wait(ident, lambda r: r.incarnation != first.incarnation)
    second = host.attached(ident)
    assert second.device == first.device
    writer.join(_LIMIT_S)
    assert not writer.is_alive()
    assert not failures
    _run("umount", str(mnt))
    _run("mount", second.device, str(mnt))
    assert (mnt / "file").read_bytes() == b"survives" * 4096
    _run("umount", str(mnt))
    host.detached(ident)


def test_a_request_held_long_costs_a_socket_and_no_error(host: sdc_host.SdcHost) -> None:
    """The kernel gives the socket up at its timeout; the agent answers with another one."""
    ident = host.map()
    device = host.attached(ident).device
    pid = host.plugin_pid(ident)
    os.kill(pid, signal.SIGSTOP)
    results: list[bytes] = []

    def _read() -> None:
        with Path(device).open("rb", buffering=0) as disk:
            results.append(disk.read(4096))

    reader = threading.Thread(target=_read)
    reader.start()
    reader.join(5.0)  # longer than nbd_timeout_s
    os.kill(pid, signal.SIGCONT)
    reader.join(_LIMIT_S)
    assert results == [bytes(4096)]
    host.detached(ident)


def test_a_restarted_agent_takes_the_device_up(host: sdc_host.SdcHost) -> None:
    ident = host.map()
    first = host.attached(ident)
    host.restart_agent()
    second = host.attached(ident)
    assert (second.device, second.incarnation) == (first.device, first.incarnation)
    host.detached(ident)
    assert _connected() == []


def test_force_cuts_a_mounted_device_off(host: sdc_host.SdcHost, tmp_path: Path) -> None:
    ident = host.map()
    device = host.attached(ident).device
    _run("mkfs.ext4", "-q", "-F", device)
    mnt = tmp_path / "mnt"
    mnt.mkdir()
    _run("mount", device, str(mnt))
    host.detached(ident, force=True)
    with pytest.raises(subprocess.CalledProcessError):
        _run("dd", "if=/dev/zero", f"of={mnt}/lost", "bs=4k", "count=1", "conv=fsync")
    _run("umount", str(mnt))
    sdc_host.until(lambda: _connected() == [])

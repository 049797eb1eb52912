"""What becomes a device and what is refused, and what happens when a device goes."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import nbd
import pytest

from tests.fakes import sds_agent, small_disk
from tests.fakes.fake_mdm import CLUSTER, FakeMdm
from tests.fakes.sds_agent import DEVICE, MIB, VOLUME, connect, order

OTHER = "00000000000000de"


def test_empty_directory_is_adopted(mdm: FakeMdm, sds, device_dir: Path) -> None:
    report = mdm.wait_device(DEVICE, "ok")
    assert report.capacity_bytes > report.free_bytes > 0
    label = json.loads((device_dir / "basalt.json").read_text())
    assert (label["cluster_id"], label["device_id"]) == (CLUSTER, DEVICE)
    assert label["sds_id"] == json.loads((sds.data_dir / "identity.json").read_text())["id"]
    assert (device_dir / "ballast").stat().st_blocks * 512 >= 4 * MIB
    assert list((device_dir / "volumes").iterdir()) == []


def test_directory_of_a_new_file_system_is_empty(mdm: FakeMdm, sds, tmp_path: Path) -> None:
    path = tmp_path / "fresh"
    (path / "lost+found").mkdir(parents=True)
    mdm.add_device(OTHER, path)
    mdm.wait_device(OTHER, "ok")


@pytest.mark.parametrize("case", ["file", "hidden", "folder"])
def test_directory_with_something_in_it_is_refused(
    mdm: FakeMdm, sds, tmp_path: Path, case: str
) -> None:
    path = tmp_path / "full"
    path.mkdir()
    if case == "folder":
        (path / "photos").mkdir()
    else:
        (path / (".x" if case == "hidden" else "photos")).write_text("mine")
    before = sds_agent.names(path)
    mdm.add_device(OTHER, path)
    assert "is not empty" in mdm.wait_device(OTHER, "refused").reason
    assert sds_agent.names(path) == before


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("cluster_id", "feed", "belongs to another Basalt cluster (feed)"),
        ("sds_id", "beef", "belongs to another SDS of this cluster (beef)"),
        ("device_id", "dead", "is another device of this SDS already (dead)"),
        ("format", 2, "another release"),
        ("sds_id", 7, "damaged"),
    ],
)
def test_directory_of_somebody_else_is_refused(
    mdm: FakeMdm, sds, tmp_path: Path, field: str, value: object, words: str
) -> None:
    identity = json.loads((sds.data_dir / "identity.json").read_text())
    label = {
        "cluster_id": identity["cluster_id"],
        "sds_id": identity["id"],
        "device_id": OTHER,
        "format": 1,
        field: value,
    }
    path = tmp_path / "theirs"
    path.mkdir()
    (path / "basalt.json").write_text(json.dumps(label))
    mdm.add_device(OTHER, path)
    assert words in mdm.wait_device(OTHER, "refused").reason
    assert sds_agent.names(path) == ["basalt.json"]
    assert json.loads((path / "basalt.json").read_text()) == label


def test_device_is_refused_under_a_second_id(mdm: FakeMdm, sds, device_dir: Path) -> None:
    mdm.add_device(OTHER, device_dir)
    assert "already" in mdm.wait_device(OTHER, "refused").reason


@pytest.mark.parametrize("path", ["relative/path", "/tmp/../etc", "/dev/null"])
def test_what_is_no_absolute_directory_is_refused(mdm: FakeMdm, sds, path: str) -> None:
    mdm.add_device(OTHER, path)
    mdm.wait_device(OTHER, "refused")


def test_file_system_that_cannot_do_it_is_refused(mdm: FakeMdm, sds) -> None:
    mdm.add_device(OTHER, "/proc/self/task")
    mdm.wait_device(OTHER, "refused")


def test_missing_directory_is_adopted_when_it_comes(mdm: FakeMdm, sds, tmp_path: Path) -> None:
    path = tmp_path / "later"
    mdm.add_device(OTHER, path)
    assert "does not exist" in mdm.wait_device(OTHER, "missing").reason
    mdm.order(order(1, device_id=OTHER))
    mdm.wait_leg(VOLUME, OTHER, lambda leg: "is missing" in leg.error)
    path.mkdir()
    mdm.wait_device(OTHER, "ok")
    mdm.wait_leg(VOLUME, OTHER, lambda leg: leg.serving)


def test_what_fails_is_tried_again_now_and_then_and_not_as_fast_as_it_can(
    mdm: FakeMdm, sds, tmp_path: Path
) -> None:
    mdm.add_device(OTHER, tmp_path / "nowhere")
    mdm.order(order(1, device_id=OTHER))
    mdm.wait_leg(VOLUME, OTHER, lambda leg: "is missing" in leg.error)
    before, began = len(mdm.heartbeats), time.monotonic()
    time.sleep(3)
    per_second = (len(mdm.heartbeats) - before) / (time.monotonic() - began)
    polls = 1 / sds_agent.POLL_S
    assert per_second <= 4 * polls, "a try and its news, at each poll and at half of one"


def test_refused_device_is_forgotten_with_its_order(mdm: FakeMdm, sds) -> None:
    mdm.add_device(OTHER, "/dev/null")
    mdm.wait_device(OTHER, "refused")
    del mdm.devices[OTHER]
    mdm.wait(lambda: len(mdm.heartbeats[-1].devices) == 1)


def test_device_without_an_order_is_kept(mdm: FakeMdm, sds, device_dir: Path) -> None:
    mdm.devices.clear()
    mdm.wait_heartbeats(3)
    assert [device.state for device in mdm.heartbeats[-1].devices] == ["ok"]
    assert (device_dir / "basalt.json").exists()


def test_unmounted_device_is_missing_and_never_adopted_anew(
    mdm: FakeMdm, sds, device_dir: Path
) -> None:
    mdm.order(order(1))
    report = mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.serving)
    connect(report).pwrite(b"x" * 512, 0, nbd.CMD_FLAG_FUA)
    sds.kill()
    away = device_dir.with_name("away")
    device_dir.rename(away)
    device_dir.mkdir()
    sds.start()
    assert "is its file system mounted?" in mdm.wait_device(DEVICE, "missing").reason
    mdm.order(order(2))
    mdm.wait_heartbeats(3)
    assert list(device_dir.iterdir()) == []
    device_dir.rmdir()
    away.rename(device_dir)
    mdm.wait_device(DEVICE, "ok")
    report = mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.serving and leg.generation == 2)
    assert report.created == 1
    assert bytes(connect(report).pread(512, 0)) == b"x" * 512


def test_device_is_given_back_when_it_is_empty(mdm: FakeMdm, sds, device_dir: Path) -> None:
    mdm.order(order(1))
    mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.serving)
    mdm.give_back(DEVICE)
    mdm.wait(lambda: f"it holds {VOLUME}" in mdm.heartbeats[-1].devices[0].reason)
    mdm.order(order(2, delete=True))
    mdm.wait(lambda: mdm.heartbeats[-1].devices == ())
    assert list(device_dir.iterdir()) == []
    sds.kill()
    sds.start()
    mdm.wait_heartbeats(2)
    assert list(device_dir.iterdir()) == []


def test_second_agent_on_one_data_dir_is_refused(mdm: FakeMdm, sds, make_sds) -> None:
    status, said = make_sds("sds2", f"data_dir={sds.data_dir}").run_to_end()
    assert status == 4
    assert "another SDS agent works on" in said


def test_second_agent_on_one_run_dir_is_refused(mdm: FakeMdm, sds, make_sds) -> None:
    status, said = make_sds("sds2", f"run_dir={sds.folder / 'run'}").run_to_end()
    assert status == 4
    assert "another SDS agent works on" in said
    assert sds.process.poll() is None


def test_run_dir_too_long_for_a_socket_is_refused(make_sds, tmp_path: Path) -> None:
    status, said = make_sds("sds1", f"run_dir={tmp_path / ('r' * 100)}").run_to_end()
    assert status == 2
    assert "run_dir" in said


def test_wrong_join_token_is_said_and_tried_again(mdm: FakeMdm, make_sds) -> None:
    sds = make_sds()
    token = sds.folder / "join.token"
    right = token.read_text()
    token.write_text("wrong")
    sds.start()
    sds_agent.until(lambda: "wrong join token" in sds.text())
    assert not json.loads(sds.get("/health"))["ready"]
    token.write_text(right)
    mdm.wait_heartbeats(1)
    assert (sds.data_dir / "identity.json").stat().st_mode & 0o777 == 0o600


def test_identity_is_kept_and_the_new_port_announced(mdm: FakeMdm, sds) -> None:
    sds.stop()
    sds.start()
    mdm.wait(lambda: len(mdm.registrations) == 2)
    mdm.wait_device(DEVICE, "ok")
    assert mdm.registrations[-1].control_port == sds.port
    assert mdm.registrations[-1].hosts == ("127.0.0.1",)


def test_address_on_the_way_to_the_mdm_is_announced(mdm: FakeMdm, make_sds) -> None:
    make_sds("sds1", "hosts=[]").start()
    mdm.wait(lambda: mdm.registrations)
    assert mdm.registrations[0].hosts == ("127.0.0.1",)


def test_mdm_that_takes_it_for_somebody_else_is_refused(mdm: FakeMdm, sds) -> None:
    """As after the MDM's database was lost: joining anew would give up every device."""
    sds.stop()
    before = (sds.data_dir / "identity.json").read_bytes()
    mdm.forget()
    sds.start()
    sds_agent.until(lambda: "does not know this SDS" in sds.text())
    mdm.cluster_id = "another"
    sds_agent.until(lambda: "is of cluster another" in sds.text())
    assert (sds.data_dir / "identity.json").read_bytes() == before
    assert not json.loads(sds.get("/health"))["ready"]


def test_agent_goes_on_without_its_join_token(mdm: FakeMdm, sds) -> None:
    sds.stop()
    (sds.folder / "join.token").unlink()
    sds.start()
    mdm.wait_heartbeats(2)


def test_mdm_that_is_away_changes_nothing(mdm: FakeMdm, sds) -> None:
    mdm.order(order(1))
    report = mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.serving)
    mdm.down = True
    sds_agent.until(lambda: json.loads(sds.get("/health"))["status"] == "degraded")
    handle = connect(report)
    handle.pwrite(b"x" * 512, 0, nbd.CMD_FLAG_FUA)
    mdm.down = False
    sds_agent.until(lambda: json.loads(sds.get("/health"))["status"] == "healthy")
    handle.pwrite(b"y" * 512, 0, nbd.CMD_FLAG_FUA)
    assert mdm.reports[(VOLUME, DEVICE)].data_export == report.data_export


@pytest.mark.root
def test_device_mounted_over_is_missing_until_it_is_back(
    mdm: FakeMdm, sds, device_dir: Path
) -> None:
    mdm.order(order(1))
    report = mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.serving)
    handle = connect(report)
    with small_disk.tmpfs(device_dir, MIB):
        assert "mounted over" in mdm.wait_device(DEVICE, "missing").reason
        mdm.wait_leg(VOLUME, DEVICE, lambda leg: not leg.serving and leg.error)
        with pytest.raises(nbd.Error):
            handle.pread(512, 0)
    mdm.wait_device(DEVICE, "ok")
    mdm.order(order(2))
    mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.serving and leg.generation == 2)


@pytest.mark.root
@pytest.mark.announces("device_failed")
def test_device_whose_flush_fails_is_failed_for_good(
    mdm: FakeMdm, tmp_path: Path, make_sds
) -> None:
    """The disk's own backing has less room than the disk: writing back gives EIO."""
    with (
        small_disk.tmpfs(tmp_path / "ram", 8 * MIB) as ram,
        small_disk.ext4(ram, 64 * MIB, "-O", "^has_journal") as path,
    ):
        mdm.add_device(DEVICE, path)
        sds = make_sds("sds1", "ballast_bytes=4096").start()
        mdm.order(order(1, size=32 * MIB))
        report = mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.serving and leg.flushed)
        handle = connect(report)
        for unit in range(16):
            handle.pwrite(os.urandom(MIB), unit * MIB)
        mdm.order(order(2, size=32 * MIB, flush=True))
        assert "fdatasync" in mdm.wait_device(DEVICE, "failed").reason
        report = mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.error != "")
        assert not report.serving
        sds.kill()
        sds.start()
        mdm.order(order(3, size=32 * MIB))
        mdm.wait_device(DEVICE, "failed")
        report = mdm.wait_leg(VOLUME, DEVICE, lambda leg: "is failed" in leg.error)
        assert not report.serving
        # What it holds is given up by order, and then the device itself.
        mdm.order(order(4, size=32 * MIB, delete=True))
        mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.deleted)
        mdm.give_back(DEVICE)
        mdm.wait(lambda: mdm.heartbeats[-1].devices == ())
        mdm.devices.clear()
        mdm.add_device(OTHER, path)
        mdm.wait_device(OTHER, "refused")
        sds.stop()


def test_tools_of_these_tests_are_there() -> None:
    for tool in ("nbdkit", "mkfs.ext4", "mount"):
        assert shutil.which(tool), tool
    assert subprocess.run(["nbdkit", "--version"], check=True, capture_output=True).stdout

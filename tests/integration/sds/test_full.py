"""A device without one free byte: volumes get ENOSPC, turns and deletion still work."""

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import nbd
import pytest

from appliance.protocol import messages
from tests.fakes import sds_agent, small_disk
from tests.fakes.fake_mdm import FakeMdm
from tests.fakes.sds_agent import CLIENT, DEVICE, MIB, VOLUME, connect, order

pytestmark = pytest.mark.root


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk.ext4(tmp_path / "disk", 96 * MIB) as mounted:
        yield mounted


@pytest.fixture
def sds(disk: Path, mdm: FakeMdm, make_sds) -> sds_agent.SdsAgent:
    """The agent of a small disk; stopped before it is unmounted."""
    mdm.add_device(DEVICE, disk)
    agent = make_sds().start()
    mdm.wait_device(DEVICE, "ok")
    return agent


def _fill(report: messages.LegReport, disk: Path) -> None:
    """Write until nothing goes any more, through the server as a client would."""
    handle = connect(report)
    offset = 0
    for size in (MIB, 65536, 4096):
        with pytest.raises(nbd.Error) as refused:
            while True:
                handle.pwrite(os.urandom(size), offset, nbd.CMD_FLAG_FUA)
                offset += size
        assert refused.value.errnum == errno.ENOSPC
    handle.shutdown()
    assert os.statvfs(disk).f_bavail == 0


def test_turn_and_marks_work_at_no_free_byte(mdm: FakeMdm, sds, disk: Path) -> None:
    mdm.order(order(1, size=256 * MIB))
    report = mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.serving)
    _fill(report, disk)
    many = tuple(f"c{number}" for number in range(20))
    mdm.order(order(2, size=300 * MIB, incarnations=(CLIENT, *many)))
    report = mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.generation == 2)
    assert report.serving, report
    assert report.error == ""
    file = disk / "volumes" / VOLUME / "volume.json"
    assert json.loads(file.read_text())["generation"] == 2
    # Blocks of the new intent files are there, so a mark can be made durable.
    handle = connect(report, report.intents["c7"])
    handle.pwrite(b"\xff" * 4096, 0, nbd.CMD_FLAG_FUA)
    handle.shutdown()
    assert "ballast_released" in sds.text()


def test_ballast_is_made_again_when_there_is_room(mdm: FakeMdm, sds, disk: Path) -> None:
    whole = (disk / "ballast").stat().st_blocks
    assert whole * 512 >= 4 * MIB
    mdm.order(order(1, size=256 * MIB))
    report = mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.serving)
    _fill(report, disk)
    mdm.order(order(2, size=256 * MIB, incarnations=tuple(f"c{n}" for n in range(40))))
    report = mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.generation == 2 and leg.serving)
    handle = connect(report)
    handle.trim(16 * MIB, 0)
    handle.flush()
    handle.shutdown()
    sds_agent.until(lambda: (disk / "ballast").stat().st_blocks >= whole)


def test_delete_works_at_no_free_byte(mdm: FakeMdm, sds, disk: Path) -> None:
    mdm.order(order(1, size=256 * MIB))
    _fill(mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.serving), disk)
    mdm.order(order(2, delete=True))
    mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.deleted)
    assert list((disk / "volumes").iterdir()) == []
    assert os.statvfs(disk).f_bavail * 4096 > 32 * MIB


def test_copy_waits_for_room_and_goes_on(mdm: FakeMdm, sds, disk: Path, tmp_path: Path) -> None:
    other = "00000000000000d1"
    (tmp_path / "big").mkdir()
    mdm.add_device(other, tmp_path / "big")
    syncing = (messages.OwnColumn(0, sds_agent.SYNCING),)
    mdm.order(order(1, size=256 * MIB, device_id=other))
    mdm.order(order(1, size=256 * MIB, columns=syncing))
    mdm.order(order(1, size=256 * MIB, volume_id="00000000000000ab"))
    source = mdm.wait_leg(VOLUME, other, lambda leg: leg.serving)
    mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.serving)
    filler = mdm.wait_leg("00000000000000ab", DEVICE, lambda leg: leg.serving)
    handle = connect(source)
    handle.pwrite(os.urandom(MIB), 0, nbd.CMD_FLAG_FUA)
    handle.shutdown()
    handle = connect(source, source.intents[CLIENT])
    handle.pwrite(b"\1" + bytes(4095), 0, nbd.CMD_FLAG_FUA)
    handle.shutdown()
    _fill(filler, disk)
    column = messages.ColumnCopy(0, False, sds_agent.leg_of(source), source.intents)
    wanted = messages.CopyOrder(1, (column,))
    mdm.order(order(1, size=256 * MIB, columns=syncing, copy=wanted))
    mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.copy and leg.copy.waiting == "the device is full")
    assert (disk / "volumes" / VOLUME / "intent.join").stat().st_size == 4096
    handle = connect(filler)
    handle.trim(16 * MIB, 0)
    handle.flush()
    handle.shutdown()
    mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.copy and leg.copy.done)
    data = (tmp_path / "big" / "volumes" / VOLUME / "data").read_bytes()
    assert (disk / "volumes" / VOLUME / "data").read_bytes() == data


def test_thick_volume_without_room_is_told_with_numbers(mdm: FakeMdm, sds, disk: Path) -> None:
    mdm.order(order(1, size=256 * MIB, thin=False))
    report = mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.generation == 1 and leg.error)
    assert not report.allocated
    assert str(256 * MIB) in report.error
    assert "are free" in report.error
    # Its blocks come back when it goes, and a smaller one fits.
    mdm.order(order(2, delete=True))
    mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.deleted)
    mdm.order(order(3, size=16 * MIB, thin=False))
    mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.allocated and leg.error == "")

"""What a leg's folder holds: intent files, growth, thick volumes, deletion, what is not ours."""

from pathlib import Path

import nbd
import pytest

from appliance.protocol import messages
from tests.fakes import sds_agent
from tests.fakes.sds_agent import CLIENT, DEVICE, MIB, VOLUME, connect, order


def test_intent_files_come_with_a_turn_and_go_when_not_wanted(
    mdm, served, sds, folder: Path
) -> None:
    mdm.order(order(1, incarnations=(CLIENT, "c2")))
    mdm.wait_heartbeats(3)
    assert not (folder / "intent.c2").exists()
    mdm.order(order(2, incarnations=(CLIENT, "c2")))
    report = mdm.wait_leg(VOLUME, DEVICE, lambda leg: set(leg.intents) == {CLIENT, "c2"})
    assert connect(report, report.intents["c2"]).get_size() == 4096
    gone = report.intents[CLIENT]
    mdm.order(order(2, incarnations=("c2",), retire=("c2",)))
    report = mdm.wait_leg(VOLUME, DEVICE, lambda leg: set(leg.intents) == {"c2"})
    assert report.synced == ("c2",)
    assert not (folder / f"intent.{CLIENT}").exists()
    with pytest.raises(nbd.Error):
        connect(report, gone)
    mdm.order(order(2, incarnations=()))
    report = mdm.wait_leg(VOLUME, DEVICE, lambda leg: not leg.intents)
    assert report.synced == ()


def test_growth_is_a_turn(mdm, served, sds, folder: Path) -> None:
    connect(served).pwrite(b"y" * 512, 8 * MIB - 512, nbd.CMD_FLAG_FUA)
    size = (16384 * 16 + 1) * MIB  # one region more than an intent block has
    mdm.order(order(1, size=size))
    mdm.wait_heartbeats(3)
    assert (folder / "data").stat().st_size == 8 * MIB
    mdm.order(order(2, size=size))
    report = mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.size == size and leg.serving)
    handle = connect(report)
    assert handle.get_size() == size
    assert bytes(handle.pread(512, 8 * MIB - 512)) == b"y" * 512
    assert connect(report, report.intents[CLIENT]).get_size() == 8192
    mdm.order(order(3, size=8 * MIB))
    report = mdm.wait_leg(VOLUME, DEVICE, lambda leg: "shrinks" in leg.error)
    assert report.generation == 2


def test_thick_allocates_the_own_units_and_no_others(mdm, sds, folder: Path) -> None:
    columns = (messages.OwnColumn(1, sds_agent.IN_SYNC), messages.OwnColumn(3, sds_agent.IN_SYNC))
    mdm.order(order(1, thin=False, ncols=4, size=18 * MIB, columns=columns))
    report = mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.allocated)
    assert report.error == ""
    # Units 1 3 5 7 9 11 13 15 17; fiemap would tell where, the count tells that no other is.
    assert 9 * MIB <= (folder / "data").stat().st_blocks * 512 < 9 * MIB + 256 * 1024
    mdm.order(order(2, thin=False, ncols=4, size=22 * MIB, columns=columns))
    mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.allocated and leg.generation == 2)
    assert 11 * MIB <= (folder / "data").stat().st_blocks * 512 < 11 * MIB + 256 * 1024


def test_thin_is_never_reported_as_allocated(mdm, served) -> None:
    assert not served.allocated


def test_delete_leaves_nothing(mdm, served, sds, folder: Path) -> None:
    handle = connect(served)
    handle.pwrite(b"x" * 512, 0)
    (pid,) = sds_agent.holders(folder / "lock")
    mdm.order(order(2, delete=True))
    mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.deleted)
    assert list(folder.parent.iterdir()) == []
    assert not Path(f"/proc/{pid}").exists()
    # Asked again, as a restarted MDM would.
    mdm.order(order(3, delete=True))
    mdm.report_all = True
    mdm.wait(lambda: mdm.heartbeats[-1].full)
    mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.deleted)
    mdm.order(order(4))
    again = mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.generation == 4 and leg.serving)
    assert again.created == 4


@pytest.mark.parametrize("what", ["damaged", "absent", "foreign"])
def test_what_is_not_known_to_be_ours_is_left_alone(
    mdm, served, sds, folder: Path, what: str
) -> None:
    sds.kill()
    file = folder / "volume.json"
    if what == "damaged":
        file.write_text("{")
    elif what == "absent":
        file.unlink()
    else:
        file.write_text(file.read_text().replace('"cluster_id": "', '"cluster_id": "f'))
    before = sorted(path.name for path in folder.iterdir())
    mdm.witness = lambda _beat: None
    mdm.order(order(9, delete=True))
    sds.start()
    mdm.wait_leg(VOLUME, DEVICE, lambda leg: "left as it is" in leg.error)
    mdm.order(order(10))
    mdm.wait_heartbeats(3)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_unknown_volume_is_reported_and_kept(mdm, served, sds, folder: Path) -> None:
    mdm._legs.clear()
    sds.kill()
    sds.start()
    report = mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.generation == 1)
    assert report.size == 8 * MIB
    assert (folder / "data").exists()


def test_id_that_could_leave_the_folder_is_refused(mdm, sds, device_dir: Path) -> None:
    mdm.order(order(1, volume_id="../escape"))
    mdm.order(order(1, incarnations=("join",)))
    mdm.wait_heartbeats(3)
    assert list((device_dir / "volumes").iterdir()) == []
    assert not (device_dir / "escape").exists()
    text = sds.text().replace(" ERROR ", " ")
    assert text.count("order_refused") >= 2
    sds.stop()
    sds.log.write_text(text)

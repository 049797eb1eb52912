"""A sealed leg is served by stock nbdkit under names that nobody can guess."""

import json
import os
import time
from pathlib import Path

import nbd
import pytest

from tests.fakes import sds_agent
from tests.fakes.fake_mdm import FakeMdm
from tests.fakes.sds_agent import CLIENT, DEVICE, MIB, VOLUME, SdsAgent, connect, order


@pytest.mark.parametrize("unix", [False, True])
def test_bytes_written_over_either_socket_are_in_data(served, device_dir: Path, unix: bool) -> None:
    handle = connect(served, unix=unix)
    assert handle.get_size() == 8 * MIB
    handle.pwrite(b"basalt" * 100, 3 * MIB + 512, nbd.CMD_FLAG_FUA)
    assert bytes(handle.pread(600, 3 * MIB + 512)) == b"basalt" * 100
    handle.trim(MIB, 0)
    handle.shutdown()
    data = device_dir / "volumes" / VOLUME / "data"
    assert data.read_bytes()[3 * MIB + 512 :][:600] == b"basalt" * 100
    assert data.stat().st_size == 8 * MIB
    assert data.stat().st_blocks * 512 < MIB


def test_intent_file_is_whole_blocks_and_served(served, device_dir: Path) -> None:
    handle = connect(served, served.intents[CLIENT])
    assert handle.get_size() == 4096
    handle.pwrite(b"\1" + bytes(4095), 0, nbd.CMD_FLAG_FUA)
    handle.shutdown()
    file = device_dir / "volumes" / VOLUME / f"intent.{CLIENT}"
    assert file.read_bytes()[:1] == b"\1"
    assert file.stat().st_blocks * 512 >= 4096


@pytest.mark.parametrize("name", ["", "0" * 32, "../data", "data", VOLUME])
@pytest.mark.parametrize("unix", [False, True])
def test_wrong_name_is_refused(served, name: str, unix: bool) -> None:
    with pytest.raises(nbd.Error):
        connect(served, name, unix)


def test_list_gives_no_name_away(served) -> None:
    handle = nbd.NBD()
    handle.set_opt_mode(True)
    handle.connect_tcp("127.0.0.1", str(served.port))
    names: list[str] = []
    handle.opt_list(lambda name, _description: names.append(name))
    handle.opt_abort()
    assert names == []


def test_names_are_of_128_bits_and_never_logged(served, sds: SdsAgent) -> None:
    names = [served.data_export, *served.intents.values()]
    assert all(len(bytes.fromhex(name)) == 16 for name in names)
    assert len(set(names)) == len(names)
    assert not any(name in sds.text() for name in names)


def test_the_group_may_go_to_the_socket_and_see_nothing_else(served) -> None:
    socket = Path(served.socket)
    assert socket.stat().st_mode & 0o777 == 0o660
    assert socket.parent.stat().st_mode & 0o777 == 0o710
    assert (socket.parent / "exports").stat().st_mode & 0o077 == 0
    assert sds_agent.names(socket.parent) == ["exports", "nbd.sock"]


def test_volume_json_says_what_is_good_where(served, device_dir: Path) -> None:
    found = json.loads((device_dir / "volumes" / VOLUME / "volume.json").read_text())
    assert found["id"] == VOLUME
    assert found["generation"] == 1
    assert found["columns"] == [{"index": 0, "state": "in_sync"}]
    assert (found["size"], found["unit"], found["ncols"]) == (8 * MIB, MIB, 1)


def test_report_is_complete(mdm: FakeMdm, served) -> None:
    assert served.generation == served.created == 1
    assert served.size == 8 * MIB
    assert served.cache_id.startswith("boot-one:")
    assert mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.flushed).error == ""


def test_health_and_metadata(served, sds: SdsAgent) -> None:
    assert json.loads(sds.get("/health")) == {
        "live": True,
        "ready": True,
        "status": "healthy",
        "reasons": [],
    }


def test_used_bytes_follow_what_is_written(mdm: FakeMdm, make_sds, device_dir: Path) -> None:
    mdm.add_device(DEVICE, device_dir)
    make_sds("sds1", "usage_s=0.1").start()
    mdm.order(order(1))
    report = mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.serving)
    handle = connect(report)
    handle.pwrite(os.urandom(MIB), 0, nbd.CMD_FLAG_FUA)
    mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.used_bytes >= MIB)
    handle.shutdown()


def test_server_that_dies_is_reported_and_not_started_again(mdm: FakeMdm, served, sds) -> None:
    lock = Path(mdm.devices[DEVICE].path) / "volumes" / VOLUME / "lock"
    (pid,) = sds_agent.holders(lock)
    os.kill(pid, 9)
    mdm.wait_leg(VOLUME, DEVICE, lambda leg: not leg.serving)
    mdm.order(order(1))
    mdm.wait_heartbeats(3)
    report = mdm.reports[(VOLUME, DEVICE)]
    assert not report.serving
    assert report.port == 0
    assert sds_agent.holders(lock) == []
    mdm.order(order(2))
    mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.serving and leg.generation == 2)


def test_end_of_service_is_for_good_in_a_generation(mdm: FakeMdm, served, sds) -> None:
    mdm.order(order(1, serve=False))
    mdm.wait_leg(VOLUME, DEVICE, lambda leg: not leg.serving)
    mdm.order(order(1, serve=True))
    mdm.wait_heartbeats(3)
    assert not mdm.reports[(VOLUME, DEVICE)].serving


def test_only_changed_legs_are_told_unless_asked(mdm: FakeMdm, served, sds) -> None:
    assert mdm.heartbeats[0].full
    mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.flushed)
    mdm.wait_heartbeats(2)
    assert not mdm.heartbeats[-1].full
    assert mdm.heartbeats[-1].legs == ()
    mdm.report_all = True
    mdm.wait(lambda: mdm.heartbeats[-1].full and len(mdm.heartbeats[-1].legs) == 1)


def test_many_legs_seal_at_once(mdm: FakeMdm, sds: SdsAgent) -> None:
    ids = [f"{number:016x}" for number in range(40)]
    began = time.monotonic()
    for ident in ids:
        mdm.order(order(1, volume_id=ident))
    sds.poke()
    mdm.wait(lambda: all(mdm.reports.get((i, DEVICE)) for i in ids), 60)
    for ident in ids:
        mdm.wait_leg(ident, DEVICE, lambda leg: leg.serving)
    print(f"\n40 legs created, sealed and served in {time.monotonic() - began:.2f} s")
    began = time.monotonic()
    for ident in ids:
        mdm.order(order(2, volume_id=ident))
    sds.poke()
    for ident in ids:
        mdm.wait_leg(ident, DEVICE, lambda leg: leg.serving and leg.generation == 2)
    print(f"40 legs turned in {time.monotonic() - began:.2f} s")
    ports = {mdm.reports[(ident, DEVICE)].port for ident in ids}
    assert len(ports) == 40

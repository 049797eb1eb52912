"""A turn at one SDS (R4, R10): the old generation is proved dead, the new one durable."""

import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nbd
import pytest

from appliance.protocol import messages
from tests.fakes import sds_agent
from tests.fakes.fake_mdm import FakeMdm
from tests.fakes.sds_agent import CLIENT, DEVICE, MIB, VOLUME, connect, order


@pytest.fixture(autouse=True)
def durable_when_reported(mdm: FakeMdm, device_dir: Path) -> None:
    """Whenever a seal is reported, volume.json says so already."""

    def _witness(beat: messages.SdsHeartbeat) -> None:
        for leg in beat.legs:
            if leg.generation:
                file = device_dir / "volumes" / leg.volume_id / "volume.json"
                assert json.loads(file.read_text())["generation"] >= leg.generation

    mdm.witness = _witness


@pytest.fixture
def stop_process() -> Iterator[Callable[[int], None]]:
    """SIGSTOP; what is still stopped after the test is let go."""
    stopped: list[int] = []

    def _stop(pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        stopped.append(pid)

    yield _stop
    for pid in stopped:
        if Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGCONT)


def _sealed(mdm: FakeMdm, generation: int) -> messages.LegReport:
    return mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.generation == generation and leg.serving)


def _assert_cut_off(handle: nbd.NBD, data: Path) -> None:
    before = data.read_bytes()
    with pytest.raises(nbd.Error):
        handle.pwrite(b"too late" * 64, 0, nbd.CMD_FLAG_FUA)
    assert data.read_bytes() == before


def test_turn_ends_old_connections_and_serves_new_names(mdm, served, sds, folder: Path) -> None:
    handle = connect(served)
    handle.pwrite(b"x" * 512, 0)
    mdm.order(order(2))
    sds.poke()
    report = _sealed(mdm, 2)
    _assert_cut_off(handle, folder / "data")
    assert report.data_export != served.data_export
    assert report.intents[CLIENT] != served.intents[CLIENT]
    assert bytes(connect(report).pread(512, 0)) == b"x" * 512
    with pytest.raises(nbd.Error):
        connect(report, served.data_export)


def test_stopped_server_is_dead_before_the_seal_is_reported(
    mdm, served, sds, folder: Path, stop_process
) -> None:
    handle = connect(served)
    (pid,) = sds_agent.holders(folder / "lock")
    stop_process(pid)
    mdm.order(order(2))
    sds.poke()
    _sealed(mdm, 2)
    assert pid not in sds_agent.holders(folder / "lock")
    _assert_cut_off(handle, folder / "data")


def test_server_left_by_a_killed_agent_is_dead_before_the_seal_is_reported(
    mdm, served, sds, folder: Path, stop_process
) -> None:
    handle = connect(served)
    (pid,) = sds_agent.holders(folder / "lock")
    stop_process(pid)  # so that the end of its parent does not end it
    sds.kill()
    assert sds_agent.holders(folder / "lock") == [pid]
    mdm.order(order(2))
    sds.start()
    _sealed(mdm, 2)
    assert pid not in sds_agent.holders(folder / "lock")
    _assert_cut_off(handle, folder / "data")


def test_server_is_not_started_again_in_its_generation(mdm, served, sds, folder: Path) -> None:
    sds.kill()
    sds.start()
    report = mdm.wait_leg(VOLUME, DEVICE, lambda leg: not leg.serving)
    assert (report.generation, report.data_export) == (1, "")
    assert report.intents == {CLIENT: ""}
    mdm.order(order(1))
    mdm.wait_heartbeats(3)
    assert not mdm.reports[(VOLUME, DEVICE)].serving
    assert sds_agent.holders(folder / "lock") == []


def test_older_generation_is_refused(mdm, served, sds, folder: Path) -> None:
    mdm.order(order(3))
    third = _sealed(mdm, 3)
    mdm.order(order(2, delete=True))
    report = mdm.wait_leg(VOLUME, DEVICE, lambda leg: "older" in leg.error)
    assert (report.generation, report.data_export) == (3, third.data_export)
    assert connect(report).get_size() == 8 * MIB
    assert (folder / "data").exists()


def test_older_term_is_refused_for_ever(mdm, served, sds) -> None:
    mdm.restart(term=7, revision=3)
    mdm.wait(lambda: (sds.data_dir / "term").read_text() == "7\n")
    mdm.restart(term=6, revision=100)
    mdm.order(order(2))
    mdm.wait_heartbeats(3)
    sds.kill()
    sds.start()
    mdm.wait_heartbeats(3)
    assert mdm.reports[(VOLUME, DEVICE)].generation == 1
    assert "term 6 is older than 7" in sds.text()
    mdm.restart(term=8, revision=1)
    _sealed(mdm, 2)


def test_orders_are_all_asked_for_after_a_new_term(mdm, served, sds) -> None:
    mdm.order(order(2))
    _sealed(mdm, 2)
    with mdm.changed:  # no heartbeat in between
        mdm.order(order(3))
        # The new MDM counts from below what the agent knows.
        mdm.restart(term=2, revision=1)
    _sealed(mdm, 3)


def test_orders_of_another_cluster_are_refused(mdm, served, sds) -> None:
    mdm.cluster_id = "another"
    mdm.order(order(2))
    mdm.wait_heartbeats(3)
    assert mdm.reports[(VOLUME, DEVICE)].generation == 1
    assert "orders of another cluster" in sds.text()


def test_lost_cache_shows_in_the_cache_id(mdm, served, sds) -> None:
    sds.kill()
    sds.boot_id.write_text("boot-two\n")
    sds.start()
    report = mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.cache_id != served.cache_id)
    assert report.cache_id.removeprefix("boot-two") == served.cache_id.removeprefix("boot-one")
    assert mdm.heartbeats[-1].boot_id == "boot-two"


def test_flush_is_done_before_the_report(mdm, served, sds) -> None:
    mdm.order(order(2, flush=True))
    assert mdm.wait_leg(VOLUME, DEVICE, lambda leg: leg.generation == 2).flushed


def test_states_and_name_follow_within_a_generation(mdm, served, sds, folder: Path) -> None:
    stale = (messages.OwnColumn(0, sds_agent.model.ReplicaState.STALE),)
    mdm.order(order(1, name="renamed", columns=stale))
    sds_agent.until(lambda: "renamed" in (folder / "volume.json").read_text())
    found = json.loads((folder / "volume.json").read_text())
    assert found["columns"] == [{"index": 0, "state": "stale"}]
    assert mdm.reports[(VOLUME, DEVICE)].serving


def test_turns_survive_crashes_at_any_moment(mdm, served, sds, folder: Path) -> None:
    chance = random.Random(4711)
    pattern = bytes(chance.randrange(256) for _ in range(512))
    connect(served).pwrite(pattern, MIB, nbd.CMD_FLAG_FUA)
    generation = 1
    for _ in range(8):
        generation += 1
        mdm.order(order(generation))
        sds.poke()
        moment = time.monotonic() + chance.uniform(0.0, 0.03)
        while time.monotonic() < moment:
            pass
        sds.kill()
        sds.start()
        before = (generation - 1, generation)
        mdm.wait_leg(VOLUME, DEVICE, lambda leg, before=before: leg.generation in before)
        generation += 1
        mdm.order(order(generation))
        report = _sealed(mdm, generation)
        assert bytes(connect(report).pread(512, MIB)) == pattern
        assert len(sds_agent.holders(folder / "lock")) == 1


def test_agent_that_stops_ends_its_servers_and_keeps_the_data(mdm, served, sds, folder) -> None:
    (pid,) = sds_agent.holders(folder / "lock")
    sds.stop()
    assert not Path(f"/proc/{pid}").exists()
    assert (folder / "data").stat().st_size == 8 * MIB
    assert list((sds.folder / "run").iterdir()) == [sds.folder / "run" / "agent.lock"]

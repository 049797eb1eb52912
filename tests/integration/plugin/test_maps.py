"""Maps and generations: which count, and what is sent under them (R1, R2, R6)."""

import dataclasses
import os

from appliance.protocol import codec, messages
from tests.fakes import legs, rig
from tests.integration.plugin.cases import (
    ONES,
    REGION,
    THREES,
    TWOS,
    K,
    data_of,
    logged_turn,
)


def test_an_older_map_is_refused(make_rig):
    """R1."""
    volume = make_rig()
    handle = volume.connect()
    handle.pwrite(ONES, 0)
    old = volume.map
    volume.turn({"y": rig.STALE})
    handle.pwrite(TWOS, 0)
    volume.plugin.send_map(old)
    volume.plugin.send_map(old)
    assert volume.plugin.status()["generation"] == 2
    for _ in range(4):
        assert handle.pread(K, 0) == TWOS
    handle.pwrite(THREES, 0)
    assert volume["y"].read(0, K) == ONES


def test_a_newer_version_of_the_same_generation_changes_the_routes_only(make_rig):
    volume = make_rig()
    handle = volume.connect()
    handle.pwrite(ONES, 0)
    logged_turn(volume, {"y": rig.SYNCING})
    promoted = rig.promoted(volume.map)
    volume.plugin.send_map(promoted)
    volume.plugin.status(generation=2, version=2)
    for _ in range(8):
        assert handle.pread(K, 0) == ONES
    assert any(not entry.intent for entry in volume["y"].logged("Read"))
    volume.plugin.send_map(volume.map)  # the version before
    volume.plugin.status()
    assert volume.plugin.status()["version"] == 2


def test_a_map_for_another_incarnation_is_ignored(make_rig):
    volume = make_rig()
    volume_map = volume.next_map()
    volume.plugin.send(op="map", incarnation="another", map=codec.to_json(volume_map))
    assert volume.plugin.status()["generation"] == 1
    assert volume.plugin.status()["generation"] == 1


def test_nothing_is_issued_under_a_generation_that_was_left(make_rig):
    """R6: whoever acknowledged leaving neither reads nor writes until the next map."""
    volume = make_rig()
    logged_turn(volume)
    handle, other = volume.connect(), volume.connect()
    handle.pwrite(ONES, 0)
    volume.plugin.send(op="open_generation", generation=3)
    volume.plugin.status(left=2)
    before = volume["x"].logged(), volume["y"].logged()
    read, write = legs.Doing(handle.pread, K, 0), legs.Doing(other.pwrite, TWOS, 0)
    volume.plugin.send_map(volume.map)  # late, and left
    volume.plugin.status(waiting="waiting for the MDM's next map")
    assert not read.done
    assert not write.done
    for server, logged in zip((volume["x"], volume["y"]), before, strict=True):
        assert data_of(server.logged()) == data_of(logged)
    volume.turn()
    assert read.result() in (ONES, TWOS)
    write.result()


def test_an_order_to_leave_what_is_older_already_changes_nothing(make_rig):
    volume = make_rig()
    volume.turn()
    volume.plugin.send(op="open_generation", generation=2)
    volume.plugin.send(op="open_generation", generation=1)
    assert volume.plugin.status()["left"] == 0
    volume.connect().pwrite(ONES, 0)


def test_a_request_in_flight_when_a_turn_begins_is_sent_again(make_rig):
    volume = make_rig()
    handle = volume.connect()
    handle.pwrite(ONES, 0)
    volume["x"].stop()
    write = legs.Doing(handle.pwrite, TWOS, 0)
    legs.until(lambda: volume["y"].read(0, K) == TWOS)
    volume.plugin.send(op="open_generation", generation=2)
    assert volume.plugin.status(left=1)["suspects"] == []
    assert not write.done
    volume.turn()
    write.result()
    assert volume["x"].read(0, K) == volume["y"].read(0, K) == TWOS


def test_growth_comes_with_a_turn_and_shows_to_new_connections(make_rig):
    volume = make_rig()
    handle = volume.connect()
    assert handle.get_size() == rig.SIZE
    growing = volume.plugin.connect(messages.GROWING_EXPORT)  # as the kernel's are
    larger = rig.SIZE + 5 * REGION
    for server in volume.servers.values():
        os.truncate(server.folder / "data", larger)
    volume.turn(size=larger)
    grown = volume.connect()
    assert grown.get_size() == larger
    grown.pwrite(TWOS, larger - K)
    assert handle.get_size() == rig.SIZE
    assert growing.pread(K, larger - K) == TWOS
    growing.pwrite(ONES, larger - K)
    assert grown.pread(K, larger - K) == ONES
    assert volume["x"].dirty() == volume["y"].dirty() == {8}


def test_a_map_that_cannot_be_used_ends_the_mapping(make_rig):
    volume = make_rig()
    volume.plugin.send_map(dataclasses.replace(volume.next_map(), legs=()))
    status = volume.plugin.status(ended=lambda text: "could not use a map" in text)
    assert status["clean"] is False

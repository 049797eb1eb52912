"""Marks of where the copies may differ: before the data, on every leg (R3)."""

from tests.fakes import legs, rig
from tests.integration.plugin.cases import ONES, REGION, TWOS, K, data_of, logged_turn


def test_the_intent_is_durable_on_every_leg_before_any_data(make_rig):
    """R3: marked with FUA on both, a syncing one too, and only then written."""
    volume = make_rig()
    logged_turn(volume, {"y": rig.SYNCING})
    volume.connect().pwrite(ONES, REGION)
    servers = [volume["x"], volume["y"]]
    legs.until(lambda: all(data_of(server.logged("Write")) for server in servers))
    marked = [entry for server in servers for entry in server.logged("Write") if entry.intent]
    written = [entry for server in servers for entry in data_of(server.logged("Write"))]
    assert [entry.fua for entry in marked] == [True, True]
    assert len(written) == 2
    assert max(entry.ended for entry in marked) < min(entry.began for entry in written)
    assert volume["x"].dirty() == volume["y"].dirty() == {1}


def test_no_data_goes_out_while_one_leg_has_not_marked(make_rig):
    """R3, with a leg that is stopped before the first write into a region."""
    volume = make_rig()
    handle = volume.connect()
    handle.pwrite(ONES, 0)
    volume["y"].stop()
    write = legs.Doing(handle.pwrite, TWOS, REGION)
    volume.plugin.status(suspects=["y"])
    assert volume["x"].dirty() == {0, 1}
    assert volume["x"].read(REGION, K) == bytes(K)
    volume["y"].go_on()
    write.result()
    assert volume["y"].dirty() == {0, 1}


def test_zeroes_and_trims_mark_too(make_rig):
    volume = make_rig()
    handle = volume.connect()
    handle.zero(K, 0)
    handle.trim(K, REGION)
    handle.pwrite(bytes(2 * K), 3 * REGION - K)
    assert volume["x"].dirty() == volume["y"].dirty() == {0, 1, 2, 3}


def test_a_region_known_to_be_marked_is_not_marked_again(make_rig):
    """R3: remembered per (replica, region), in the generation and in the next."""
    volume = make_rig()
    logged_turn(volume)
    handle = volume.connect()
    for count in range(3):
        handle.pwrite(ONES, count * K)
    assert len([entry for entry in volume["x"].logged("Write") if entry.intent]) == 1
    logged_turn(volume)
    handle.pwrite(TWOS, 0)
    assert [entry for entry in volume["x"].logged("Write") if entry.intent] == []


def test_a_replica_that_was_away_is_marked_when_it_is_back(make_rig):
    """R3: what was marked without it, or in a file it may have lost, is not known of it."""
    volume = make_rig()
    handle = volume.connect()
    handle.pwrite(ONES, 0)
    volume.turn({"x": rig.STALE})
    handle.pwrite(ONES, REGION)
    assert volume["x"].dirty() == {0}
    intent = volume["x"].folder / "intent"
    intent.write_bytes(bytes(intent.stat().st_size))  # it comes back as a new one
    volume.turn({"x": rig.SYNCING})
    handle.pwrite(TWOS, REGION)
    assert volume["x"].dirty() == {0, 1}
    handle.pwrite(TWOS, 0)
    assert volume["x"].dirty() == volume["y"].dirty() == {0, 1}


def test_marks_are_cleared_after_a_flush_and_only_when_all_are_in_sync(make_rig):
    """R3. Six regions: cleared are those without a write since the last flush."""
    volume = make_rig()
    handle = volume.connect()
    handle.pwrite(ONES, 0)
    handle.pwrite(ONES, REGION)
    handle.flush()
    handle.pwrite(TWOS, REGION)
    legs.until(lambda: volume["x"].dirty() == volume["y"].dirty() == {1}, 30)
    handle.pwrite(TWOS, 0)  # and marked anew when it is needed
    assert volume["x"].dirty() == volume["y"].dirty() == {0, 1}

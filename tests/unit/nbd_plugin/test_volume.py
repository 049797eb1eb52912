"""The volume before its first map, between maps, and while it clears marks."""

import pytest

from nbd_plugin import failures
from nbd_plugin import volume as volume_module
from tests.fakes import legs

SIZE = 64 << 20
K = 4096


@pytest.fixture
def servers(tmp_path):
    made = [legs.LegServer(tmp_path / name, SIZE) for name in ("x", "y")]
    yield made
    for server in made:
        server.kill()


@pytest.fixture
def make_volume():
    made = []

    def make(read_only: bool = False) -> volume_module.Volume:
        volume = volume_module.Volume("i", read_only, lambda: None)
        volume.start()
        made.append(volume)
        return volume

    yield make
    for volume in made:
        volume.fail("the test is over")
        volume.stop()


def next_map(servers, generation: int = 1):
    return legs.make_map([server.serve() for server in servers], SIZE, generation, ncols=1)


def test_without_a_map_there_is_nothing_to_read_write_or_lose(make_volume):
    volume = make_volume()
    with pytest.raises(TimeoutError):
        volume.wait_ready(0.0)
    with pytest.raises(failures.MappingEnded, match="there is no map yet"):
        _ = volume.size
    with pytest.raises(failures.MappingEnded, match="there is no map yet"):
        volume.write(memoryview(bytes(K)), 0, False)
    volume.flush()
    volume.finish()
    assert volume.status().clean
    with pytest.raises(failures.MappingEnded):
        volume.wait_ready(0.0)


def test_a_map_that_is_left_before_it_is_in_use_never_is(make_volume, servers):
    volume = make_volume()
    volume_map = next_map(servers)
    servers[1].stop()  # so that opening takes its time
    volume.adopt(volume_map)
    legs.until(lambda: volume.status().generation == 1)
    volume.leave(2)
    assert volume.status().left == 1
    servers[1].go_on()
    reading = legs.Doing(volume.read, memoryview(bytearray(K)), 0)
    volume.adopt(next_map(servers, 2))
    reading.result()
    assert volume.status().generation == 2


def test_marks_are_cleared_in_the_background(make_volume, servers, monkeypatch):
    monkeypatch.setattr(volume_module, "CLEAR_INTERVAL_S", 0.02)
    volume = make_volume()
    volume.adopt(next_map(servers))
    volume.wait_ready(10.0)
    volume.write(memoryview(b"1" * K), 0, False)
    assert volume.status().unflushed
    assert [server.dirty() for server in servers] == [{0}, {0}]
    volume.flush()
    legs.until(lambda: [server.dirty() for server in servers] == [set(), set()])
    assert not volume.status().unflushed


def test_clearing_that_meets_a_dead_leg_asks_for_a_turn(make_volume, servers, monkeypatch):
    monkeypatch.setattr(volume_module, "CLEAR_INTERVAL_S", 0.3)
    volume = make_volume()
    volume.adopt(next_map(servers))
    volume.wait_ready(10.0)
    volume.write(memoryview(b"1" * K), 0, False)
    volume.flush()
    servers[1].kill()
    legs.until(lambda: volume.status().left == 1)
    assert volume.status().suspects == (servers[1].device_id,)


def test_a_read_only_volume_marks_and_clears_nothing(make_volume, servers, monkeypatch):
    monkeypatch.setattr(volume_module, "CLEAR_INTERVAL_S", 0.02)
    volume = make_volume(read_only=True)
    volume.adopt(next_map(servers))
    view = memoryview(bytearray(b"1" * K))
    volume.read(view, 0)
    assert view == bytes(K)
    volume.flush()
    volume.finish()
    assert volume.status().clean


def test_a_lock_that_is_given_back_twice_or_never_leaves_nothing_behind(make_volume, servers):
    volume = make_volume()
    volume.adopt(next_map(servers))
    volume.wait_ready(10.0)
    volume.lock("a", 1, 0, K, 60.0)
    volume.unlock("a")
    volume.unlock("a")
    volume.lock("b", 1, 0, K, 0.05)  # runs out
    volume.write(memoryview(b"1" * K), 0, False)
    with pytest.raises(failures.EpochOver):
        volume.lock("c", 2, 0, K, 60.0)
    volume.write(memoryview(b"2" * K), 0, False)


def test_a_lock_id_that_is_held_is_refused_and_its_range_is_not_lost(make_volume, servers):
    volume = make_volume()
    volume.adopt(next_map(servers))
    volume.wait_ready(10.0)
    volume.lock("a", 1, 0, K, 60.0)
    with pytest.raises(failures.LockIdInUse, match="with the id a is held"):
        volume.lock("a", 1, 4 * K, K, 60.0)
    volume.write(memoryview(b"1" * K), 4 * K, False)  # the refused lock holds nothing
    held = legs.Doing(volume.write, memoryview(b"2" * K), 0, False)
    assert servers[0].read(0, K) == bytes(K)
    volume.unlock("a")
    held.result()
    assert servers[0].read(0, K) == b"2" * K

"""Legs that die or fall silent: what the plugin holds, sends again and asks for."""

import os
import signal

import pytest

from tests.fakes import legs, rig
from tests.integration.plugin.cases import ONES, THREES, TWOS, K


def test_a_write_whose_leg_dies_is_held_and_sent_again_to_all_that_remain(make_rig):
    """R2, R5."""
    volume = make_rig()
    handle = volume.connect()
    handle.pwrite(ONES, 0)
    volume["x"].stop()
    write = legs.Doing(handle.pwrite, TWOS, 0)
    legs.until(lambda: volume["y"].read(0, K) == TWOS)
    volume["x"].kill()
    status = volume.plugin.status(left=1, suspects=["x"])
    assert status["ended"] == ""
    assert not write.done
    # Whatever y acknowledged under generation 1 does not count any more.
    volume["y"].kill()
    volume["y"].overwrite(0, THREES)
    volume.turn({"x": rig.STALE})
    write.result()
    assert volume["y"].read(0, K) == TWOS
    assert volume["x"].read(0, K) == ONES
    assert handle.pread(K, 0) == TWOS


@pytest.mark.parametrize("length", [K, 1 << 20, 3 << 20], ids=["small", "large", "split"])
def test_every_kind_of_write_is_held_when_a_leg_is_gone(make_rig, length):
    volume = make_rig(columns=(("x", "y"), ("y", "x")))
    handle, other = volume.connect(), volume.connect()
    handle.pwrite(bytes(length), 0)
    volume["x"].kill()
    data = os.urandom(length)
    write = legs.Doing(handle.pwrite, data, 0)
    zero = legs.Doing(other.zero, length, 4 << 20)
    volume.plugin.status(left=1, suspects=["x"])
    volume.turn({"x": rig.STALE})
    write.result()
    zero.result()
    assert handle.pread(length, 0) == data


def test_many_writers_see_no_error_when_a_leg_dies(make_rig):
    """Whoever comes too late for the generation waits for the next, at whatever step it is."""
    volume = make_rig()
    handles = [volume.connect() for _ in range(6)]

    def write_on(index: int) -> int:
        for count in range(1, 100_000):
            handles[index].pwrite(count.to_bytes(8, "little") * 512, index * K)
            if volume.generation == 7 and not turning[0]:
                return count
        return 0

    turning = [True]
    writers = [legs.Doing(write_on, index) for index in range(len(handles))]
    for name in ("x", "y") * 3:
        volume[name].kill()
        volume.plugin.status(left=volume.generation)
        volume.turn()
    turning[0] = False
    counts = [writer.result() for writer in writers]
    assert all(counts)
    for index, count in enumerate(counts):
        assert handles[index].pread(8, index * K) == count.to_bytes(8, "little")
    assert volume["x"].read() == volume["y"].read()


def test_acknowledgements_of_two_generations_are_never_added_up(make_rig):
    """R2: y acknowledged under generation 1, x under 2; y has not under 2."""
    volume = make_rig()
    handle = volume.connect()
    handle.pwrite(ONES, 0)
    volume["x"].stop()
    write = legs.Doing(handle.pwrite, TWOS, 0)
    legs.until(lambda: volume["y"].read(0, K) == TWOS)
    volume["x"].kill()
    volume.plugin.status(left=1)
    volume["y"].kill()
    volume["y"].overwrite(0, THREES)  # a copier did, say
    volume_map = volume.next_map()
    volume["y"].stop()
    volume.plugin.send_map(volume_map)
    volume.plugin.status(generation=2, suspects=["y"])
    assert not write.done
    volume["y"].go_on()
    volume.turn()
    write.result()
    assert volume["x"].read(0, K) == volume["y"].read(0, K) == TWOS


def test_a_dead_connection_with_a_write_in_flight_is_not_opened_again(make_rig):
    """R5: the old server may still apply the write, so nothing more goes out under this map."""
    volume = make_rig(serve={"x": {"filters": ["log"], "arguments": []}})
    volume.turn(serve={name: volume[name].logging() for name in ("x", "y")})
    handle, other = volume.connect(), volume.connect()
    handle.pwrite(ONES, 0)
    volume["x"].stop()
    first = legs.Doing(handle.pwrite, TWOS, 0)
    legs.until(lambda: volume["y"].read(0, K) == TWOS)
    volume["x"].kill()
    volume.plugin.status(left=2)
    second = legs.Doing(other.pwrite, THREES, K)
    # A server under the same names on the same socket: to open it again would work.
    volume["x"].serve_again()
    volume.plugin.send(op="unlock", id="none")
    volume.plugin.status()
    volume.plugin.status()
    assert not first.done
    assert not second.done
    assert volume["x"].logged("Write") == []
    volume.turn()
    first.result()
    second.result()
    assert volume["x"].read(0, 2 * K) == volume["y"].read(0, 2 * K) == TWOS + THREES


def test_a_read_whose_leg_died_goes_to_the_other_at_once(make_rig):
    """R6: no turn is needed while the pulse is fresh."""
    volume = make_rig()
    handle = volume.connect()
    handle.pwrite(ONES, 0)
    volume["x"].kill()
    for _ in range(4):  # more than the readers that take turns
        assert handle.pread(K, 0) == ONES
    volume.plugin.status(generation=1, left=0, suspects=["x"])


def test_block_status_goes_to_the_other_leg_too(make_rig):
    volume = make_rig()
    handle = volume.connect()
    handle.pwrite(ONES, 0)
    volume["x"].kill()
    for _ in range(4):
        found: list[int] = []
        handle.block_status(K, 0, lambda _context, _at, entries, _error: found.extend(entries))  # noqa: B023
        assert found[1] == 0


def test_a_read_waits_while_a_pulse_is_missing(make_rig):
    """R6: y may have been written to by others since x, which is silent, left the map."""
    volume = make_rig()
    handle = volume.connect()
    handle.pwrite(ONES, 0)
    volume["x"].stop()
    volume.plugin.status(suspects=["x"])
    volume["y"].overwrite(0, THREES)  # what a read of y would give away
    reads = [legs.Doing(volume.connect().pread, K, 0) for _ in range(3)]
    # All are x's to answer, whose other replica has a pulse.
    legs.until(lambda: volume.plugin.status()["stats"]["in_flight"] == 3)
    volume["x"].go_on()
    volume["y"].overwrite(0, ONES)
    assert all(read.result() == ONES for read in reads)


def test_io_that_waited_for_a_pulse_goes_on_when_it_is_back(make_rig):
    """Slowness is not death: no turn is needed for that."""
    volume = make_rig()
    handle = volume.connect()
    handle.pwrite(ONES, 0)
    volume["x"].stop()
    volume["y"].stop()
    volume.plugin.status(suspects=["x", "y"])
    read = legs.Doing(handle.pread, K, 0)
    volume.plugin.status(waiting=lambda text: "column 0 cannot be read now" in text)
    assert not read.done
    volume["x"].go_on()
    volume["y"].go_on()
    assert read.result() == ONES
    volume.plugin.status(waiting="", left=0)


def test_the_pulse_is_looked_at_again_when_a_read_starts_over(make_rig):
    """R6: a read that was fine when it came is not when its leg dies long afterwards."""
    volume = make_rig()
    handle = volume.connect()
    handle.pwrite(ONES, 0)
    volume["y"].stop()
    reads = [legs.Doing(volume.connect().pread, K, 0) for _ in range(4)]
    volume.plugin.status(suspects=["y"])
    volume["y"].kill()
    volume.plugin.status(waiting=lambda text: "column 0 cannot be read now" in text)
    assert any(not read.done for read in reads)
    volume.turn({"y": rig.STALE})
    assert all(read.result() == ONES for read in reads)


def test_the_pulse_of_a_syncing_replica_is_needed_too(make_rig):
    """R6: it may have been promoted before this client hears of it."""
    volume = make_rig()
    handle = volume.connect()
    handle.pwrite(ONES, 0)
    volume.turn({"y": rig.SYNCING})
    volume["y"].stop()
    volume.plugin.status(suspects=["y"])
    read = legs.Doing(handle.pread, K, 0)
    volume.plugin.status(waiting=lambda text: "column 0 cannot be read now" in text)
    assert not read.done
    volume.turn({"y": rig.STALE})
    assert read.result() == ONES


def test_a_syncing_replica_is_written_and_not_read(make_rig):
    volume = make_rig()
    handle = volume.connect()
    handle.pwrite(ONES, 0)
    volume["y"].overwrite(0, THREES)
    volume.turn({"y": rig.SYNCING})
    for _ in range(4):
        assert handle.pread(K, 0) == ONES
    handle.pwrite(TWOS, K)
    assert volume["y"].read(K, K) == TWOS


def test_a_leg_that_cannot_be_reached_is_suspected_at_once(make_rig):
    volume = make_rig()
    handle = volume.connect()
    handle.pwrite(ONES, 0)
    volume_map = volume.next_map()
    volume["y"].kill()
    volume.plugin.send_map(volume_map)
    volume.plugin.status(generation=2, suspects=["y"])
    read = legs.Doing(handle.pread, K, 0)
    write = legs.Doing(volume.connect().pwrite, TWOS, 0)
    volume.plugin.status(left=2)
    assert not read.done
    assert not write.done
    volume.turn({"y": rig.STALE})
    assert read.result() in (ONES, TWOS)
    write.result()


def test_a_plugin_killed_leaves_marks_wherever_its_copies_may_differ(make_rig):
    """R3: after a crash the replicas differ only inside regions marked on both."""
    volume = make_rig()
    handle = volume.connect()
    handle.pwrite(ONES, 0)
    volume["x"].stop()
    legs.Doing(handle.pwrite, TWOS, 0)
    legs.until(lambda: volume["y"].read(0, K) == TWOS)
    os.kill(volume.plugin.process.pid, signal.SIGKILL)
    volume["x"].kill()
    assert volume["x"].read(0, K) == ONES
    assert volume["x"].dirty() == volume["y"].dirty() == {0}

"""Who writes when: overlapping writes (R9) and the locks of copy steps (R8)."""

import threading

from tests.fakes import legs, rig
from tests.integration.plugin.cases import MIB, ONES, THREES, TWOS, K


def test_overlapping_writes_come_to_every_replica_in_one_order(make_rig):
    """R9: both replicas are equal byte for byte after a brawl on one spot."""
    volume = make_rig()
    handles = [volume.connect() for _ in range(6)]
    start = threading.Barrier(len(handles))

    def brawl(index: int) -> None:
        start.wait()
        for count in range(60):
            data = bytes([index * 40 + count % 40]) * (3 * 512)
            handles[index].pwrite(data, ((index + count) % 5) * 512)

    for doing in [legs.Doing(brawl, index) for index in range(len(handles))]:
        doing.result()
    assert volume["x"].read(0, 8 * 512) == volume["y"].read(0, 8 * 512)


def test_an_overlapping_write_waits_for_the_one_before(make_rig):
    """R9: first come, first served; what does not overlap is not held up."""
    volume = make_rig()
    volume.turn(serve={"x": {"filters": ["pause"], "arguments": [volume["x"].pause_argument]}})
    handle, second, apart = volume.connect(), volume.connect(), volume.connect()
    handle.pwrite(ONES * 4, 0)
    volume["x"].pause()
    first_write = legs.Doing(handle.pwrite, TWOS * 2, 0)
    legs.until(lambda: volume["y"].read(0, K) == TWOS)
    second_write = legs.Doing(second.pwrite, THREES * 2, K)
    apart_write = legs.Doing(apart.pwrite, THREES, 3 * K)
    legs.until(lambda: volume["y"].read(3 * K, K) == THREES)
    volume.plugin.status()
    assert volume["y"].read(K, K) == TWOS
    volume["x"].resume()
    for write in (first_write, second_write, apart_write):
        write.result()
    assert volume["x"].read(0, 4 * K) == volume["y"].read(0, 4 * K) == TWOS + THREES * 3


def lock(volume: rig.Rig, ident: str, offset: int = 0, limit_s: float = 60.0, **more: int) -> None:
    fields = {"generation": volume.generation, "length": MIB, **more}
    volume.plugin.send(op="lock", id=ident, offset=offset, limit_s=limit_s, **fields)


def test_a_copy_step_drains_its_unit_and_holds_it_and_no_other(make_rig):
    """R8."""
    volume = make_rig()
    handle, inside, outside = volume.connect(), volume.connect(), volume.connect()
    handle.pwrite(ONES, 0)
    volume["x"].stop()
    in_flight = legs.Doing(handle.pwrite, TWOS, 0)
    legs.until(lambda: volume["y"].read(0, K) == TWOS)
    lock(volume, "step")
    volume.plugin.status()
    lock(volume, "other", offset=MIB)  # at once: nothing is in flight there
    assert volume.plugin.wait_for(op="locked")["id"] == "other"
    volume["x"].go_on()
    assert volume.plugin.wait_for(op="locked") == {
        "op": "locked", "id": "step", "ok": True, "why": "",
    }  # fmt: skip
    in_flight.result()  # drained, so it is over
    held = legs.Doing(inside.pwrite, THREES, K)
    outside.pwrite(THREES, 2 * MIB)
    assert handle.pread(K, 0) == TWOS  # reads are not held
    volume.plugin.status()
    volume.plugin.status()
    assert not held.done
    assert volume["x"].read(K, K) == volume["y"].read(K, K) == bytes(K)
    volume.plugin.send(op="unlock", id="step")
    held.result()


def test_a_copy_step_that_takes_too_long_loses_its_lock(make_rig):
    volume = make_rig()
    lock(volume, "step", limit_s=2.0)
    assert volume.plugin.wait_for(op="locked")["ok"]
    volume.connect().pwrite(ONES, 0)
    volume.plugin.send(op="unlock", id="step")  # late: nothing to give back


def test_a_lock_is_refused_while_writes_do_not_end_or_in_another_generation(make_rig):
    volume = make_rig()
    handle = volume.connect()
    handle.pwrite(ONES, 0)
    lock(volume, "old", generation=7)
    refusal = volume.plugin.wait_for(op="locked", id="old")
    assert not refusal["ok"]
    assert "generation 7 is over" in refusal["why"]
    volume["x"].stop()
    write = legs.Doing(handle.pwrite, TWOS, 0)
    legs.until(lambda: volume["y"].read(0, K) == TWOS)
    lock(volume, "step", limit_s=0.1)
    refusal = volume.plugin.wait_for(op="locked", id="step")
    assert not refusal["ok"]
    assert "did not end in time" in refusal["why"]
    volume["x"].go_on()
    write.result()
    handle.pwrite(THREES, 0)  # neither left anything behind

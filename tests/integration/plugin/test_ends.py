"""How a mapping ends: cleanly, by lost caches, by waiting, by order (R5, R7)."""

import nbd
import pytest

from tests.fakes import legs, rig
from tests.integration.plugin.cases import ONES, THREES, TWOS, K, data_of, expect_over, logged_turn


def test_lost_caches_end_a_mapping_with_unflushed_writes(make_rig):
    """R7: the application is told, and no later flush says success."""
    volume = make_rig()
    handle = volume.connect()
    handle.pwrite(ONES, 0)
    volume.plugin.send_map(volume.next_map(lost_generation=2))
    status = volume.plugin.status(ended=lambda text: "lost its cache" in text)
    assert status["clean"] is False
    expect_over(handle.flush)
    expect_over(handle.pread, K, 0)
    expect_over(handle.pwrite, ONES, 0)
    volume.plugin.send_map(volume.next_map())
    assert volume.plugin.status()["generation"] == 1


def test_lost_caches_do_not_matter_where_all_was_flushed(make_rig):
    volume = make_rig()
    handle = volume.connect()
    handle.pwrite(ONES, 0)
    handle.flush()
    volume.turn(lost_generation=2)
    assert handle.pread(K, 0) == ONES
    handle.pwrite(TWOS, 0)  # unflushed, but of after the loss
    volume.turn(lost_generation=2)
    assert handle.pread(K, 0) == TWOS


def test_lost_caches_end_a_mapping_whose_flush_is_held(make_rig):
    """R7: the flush covers what was lost; sent again, it would say success."""
    volume = make_rig(serve={"x": {"scripted": True}, "y": {"scripted": True}})
    handle = volume.connect()
    handle.pwrite(ONES, 0)
    (volume["y"].folder / "no-flush").touch()
    flush = legs.Doing(handle.flush)
    assert volume.plugin.status(left=1)["unflushed"] is True
    volume.plugin.send_map(volume.next_map({"y": rig.STALE}, lost_generation=2))
    expect_over(flush.result)
    volume.plugin.status(ended=lambda text: "lost its cache" in text)


def test_lost_caches_end_every_mapping_of_a_shared_volume(make_rig):
    """R7: what another client wrote may have been read here."""
    volume = make_rig(shared=True)
    handle = volume.connect()
    handle.pread(K, 0)
    volume.plugin.send_map(volume.next_map(lost_generation=2))
    volume.plugin.status(ended=lambda text: "lost its cache" in text)
    expect_over(handle.pread, K, 0)


def test_a_clean_end_drains_and_flushes_and_refuses_what_comes_later(make_rig):
    """R7: everything answered, a last flush, then nothing more."""
    volume = make_rig()
    logged_turn(volume)
    handle, other = volume.connect(), volume.connect()
    handle.pwrite(ONES, 0)
    volume["x"].stop()
    in_flight = legs.Doing(handle.pwrite, TWOS, 0)
    legs.until(lambda: volume["y"].read(0, K) == TWOS)
    volume.plugin.send(op="end")
    status = volume.plugin.status()
    assert (status["ended"], status["clean"]) == ("", False)
    late = legs.Doing(other.pwrite, THREES, 0)
    volume["x"].go_on()
    in_flight.result()
    status = volume.plugin.status(ended="unmapped")
    assert (status["clean"], status["unflushed"]) == (True, False)
    expect_over(late.result)
    expect_over(handle.pread, K, 0)
    for name in ("x", "y"):
        assert volume[name].read(0, K) == TWOS
        assert data_of(volume[name].logged())[-1].op == "Flush"


def test_an_end_that_cannot_flush_is_not_clean(make_rig):
    volume = make_rig(wait_limit_s=1.0)
    volume.connect().pwrite(ONES, 0)
    volume["x"].kill()
    volume.plugin.send(op="end")
    status = volume.plugin.status(ended=lambda text: "a write waited" in text)
    assert status["clean"] is False
    assert status["unflushed"] is True


def test_a_failed_mapping_refuses_everything_and_stays_failed(make_rig):
    volume = make_rig()
    handle = volume.connect()
    handle.pwrite(ONES, 0)
    volume["x"].stop()
    write = legs.Doing(handle.pwrite, TWOS, 0)
    legs.until(lambda: volume["y"].read(0, K) == TWOS)
    volume.plugin.send(op="fail", why="cut off")
    expect_over(write.result)
    volume.plugin.send(op="end")
    status = volume.plugin.status(ended="cut off")
    assert status["clean"] is False
    volume.plugin.send_map(volume.next_map())
    volume.plugin.status()
    expect_over(handle.pread, K, 0)
    with pytest.raises(nbd.Error):
        volume.connect()


def test_reads_fail_after_the_wait_limit_and_a_waiting_write_ends_the_mapping(make_rig):
    """R5: the outcome of a write is never given up while the mapping goes on."""
    volume = make_rig(wait_limit_s=1.0)
    handle = volume.connect()
    handle.pwrite(ONES, 0)
    volume["x"].kill()
    volume["y"].kill()
    with pytest.raises(nbd.Error) as caught:
        handle.pread(K, 0)
    assert caught.value.errno == "EIO"
    assert volume.plugin.status()["ended"] == ""
    expect_over(handle.pwrite, TWOS, 0)
    volume.plugin.status(ended=lambda text: "a write waited 1 s" in text, clean=False)


def test_a_read_only_mapping_writes_nothing_anywhere(make_rig):
    volume = make_rig(read_only=True)
    logged_turn(volume)
    volume["x"].overwrite(0, ONES)
    volume["y"].overwrite(0, ONES)
    handle = volume.connect()
    assert handle.is_read_only()
    assert handle.pread(K, 0) == ONES
    with pytest.raises(nbd.Error):
        handle.pwrite(TWOS, 0)
    handle.flush()
    volume.plugin.send(op="end")
    volume.plugin.status(ended="unmapped", clean=True)
    for name in ("x", "y"):
        assert {entry.op for entry in volume[name].logged()} == {"Read"}

"""One attempt at a read: whom it asks, and how extents are cut and joined."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbd_plugin import failures, reading

K = 4096


def pulse(epoch) -> None:
    for pool in epoch.pools.values():
        pool.pulse_s = time.monotonic() + 3600


runs_of = st.lists(st.tuples(st.integers(1, 9), st.sampled_from((0, 2, 3))), max_size=8)


@given(runs_of, st.integers(0, 30), st.integers(0, 30))
def test_a_cut_is_what_the_runs_tell_of_the_range(pieces, start, length):
    flat = [flags for size, flags in pieces for _ in range(size)]
    runs, at = [], 0
    for size, flags in pieces:
        at += size
        runs.append((at, flags))
    found = reading._cut(runs, start, start + length)
    told = [flags for begin, end, flags in found for _ in range(begin, end)]
    assert told == flat[start : start + length]
    assert all(begin < end for begin, end, _ in found)


def test_an_epoch_that_ended_in_between_is_over_for_every_read(epochs):
    epoch = epochs()
    pulse(epoch)
    epoch.end("a turn began")
    view = memoryview(bytearray(K))
    for attempt in (
        lambda: reading.read(epoch, view, 0, time.monotonic),
        lambda: reading.extents(epoch, 0, K, time.monotonic),
    ):
        with pytest.raises((failures.EpochOver, failures.NoReader)):
            attempt()
    assert epochs.blamed == []


def test_a_large_read_is_served_while_a_leg_dies(epochs):
    epoch = epochs()
    pulse(epoch)
    epochs.servers["x"].overwrite(0, b"1" * (1 << 20))
    epochs.servers["y"].overwrite(0, b"1" * (1 << 20))
    epochs.servers["x"].kill()
    for _ in range(2):
        view = memoryview(bytearray(1 << 20))
        reading.read(epoch, view, 0, time.monotonic)
        assert view == b"1" * (1 << 20)


def test_readers_take_turns(epochs):
    epoch = epochs()
    pulse(epoch)
    for _ in range(6):
        reading.read(epoch, memoryview(bytearray(K)), 0, time.monotonic)
    assert [pool.turn for pool in epoch.pools.values()] == [3, 3]
    epoch.pools["x"].busy = 1  # the less busy one is taken
    for _ in range(2):
        reading.read(epoch, memoryview(bytearray(K)), 0, time.monotonic)
    assert [pool.turn for pool in epoch.pools.values()] == [3, 5]


def test_no_pulse_no_read(epochs):
    epoch = epochs()
    with pytest.raises(failures.NoReader, match="column 0 cannot be read now"):
        reading.read(epoch, memoryview(bytearray(K)), 0, time.monotonic)

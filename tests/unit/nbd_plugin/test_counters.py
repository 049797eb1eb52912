"""Every operation is counted once, when it ends."""

import dataclasses

import pytest

from appliance.domain import latency
from appliance.protocol import messages
from nbd_plugin import counters


def without_times(stats):
    return dataclasses.replace(stats, latency={}, seconds={}, degraded_s=0.0)


def test_each_kind_is_counted_with_its_bytes():
    count = counters.Counters()
    with count.reading(10), count.writing(7):
        assert count.snapshot() == messages.IoStats(in_flight=2)
    with count.flushing(), count.trimming():
        pass
    assert without_times(count.snapshot()) == messages.IoStats(
        reads=1, writes=1, flushes=1, trims=1, read_bytes=10, write_bytes=7
    )


def test_one_that_raises_is_an_error_and_goes_on_raising():
    count = counters.Counters()
    with pytest.raises(OSError, match="no"), count.reading(10):
        raise OSError("no")
    assert without_times(count.snapshot()) == messages.IoStats(reads=1, read_bytes=10, errors=1)


def test_each_duration_falls_into_one_bucket_of_its_kind():
    count = counters.Counters()
    for took_s in (0.00005, 0.0015, 0.0015, 900.0):
        count.began()
        count.ended("write", 1, False, took_s)
    found = count.snapshot()
    assert sum(found.latency["write"]) == 4
    assert found.latency["write"][0] == 1
    assert found.latency["write"][latency.bucket(0.0015)] == 2
    assert found.latency["write"][-1] == 1
    assert sum(found.latency["read"]) == 0
    assert found.seconds["write"] == pytest.approx(900.00305)


def test_a_new_generation_is_a_turn_and_a_new_version_of_it_is_not():
    count = counters.Counters()
    for generation in (4, 4, 5, 6, 6):
        count.map_in_use(generation, degraded=False)
    assert count.snapshot().turns == 2


def test_time_is_degraded_only_while_a_copy_is_missing():
    count = counters.Counters()
    count.map_in_use(1, degraded=False)
    assert count.snapshot().degraded_s == 0
    count.map_in_use(2, degraded=True)
    while not count.snapshot().degraded_s:
        pass
    count.map_in_use(3, degraded=False)
    ended = count.snapshot().degraded_s
    assert ended > 0
    assert count.snapshot().degraded_s == ended

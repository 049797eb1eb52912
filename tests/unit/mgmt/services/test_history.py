"""Counters into rates: only what was gained counts, also over new incarnations."""

import pytest

from appliance.domain import latency
from appliance.mgmt.services import forecast, history


def stats(incarnation="i", volume="v", reads=0, writes=0, slow=0, in_flight=0):
    counts = [0] * latency.BUCKETS
    counts[latency.bucket(0.0015)] = reads + writes - slow
    counts[latency.bucket(0.3)] = slow
    return {
        "incarnation": incarnation,
        "volume_id": volume,
        "stats": {
            "reads": reads, "writes": writes, "read_bytes": reads * 4096,
            "write_bytes": writes * 4096, "in_flight": in_flight,
            "latency": {"read": counts, "flush": [9] * latency.BUCKETS},
        },
    }  # fmt: skip


def test_rates_are_what_was_gained_in_the_time_between():
    made = history.History()
    made.taken(100, [stats(reads=1000)], {"v"})
    made.taken(102, [stats(reads=1200, writes=50, in_flight=3)], {"v"})
    point = made.newest()
    assert (point.read_iops, point.write_iops) == (100, 25)
    assert point.read_bps == 100 * 4096
    assert point.in_flight == 3
    assert 0.001 <= point.p50_s <= 0.002


def test_the_tail_is_seen_in_the_p99_and_not_in_the_p50():
    made = history.History()
    made.taken(100, [stats()], {"v"})
    made.taken(101, [stats(reads=100, slow=3)], {"v"})
    point = made.newest()
    assert point.p50_s < 0.002
    assert point.p99_s > 0.2


def test_a_new_incarnation_counts_from_its_first_sight_and_never_backwards():
    made = history.History()
    made.taken(100, [stats(reads=5000)], {"v"})
    made.taken(101, [stats("other", reads=70)], {"v"})
    made.taken(102, [stats("other", reads=90)], {"v"})
    assert [point.read_iops for point in made.points()] == [0, 20]


def test_no_io_has_no_percentile():
    made = history.History()
    made.taken(100, [], set())
    made.taken(101, [], set())
    assert made.newest().p99_s is None


def test_a_volume_has_points_of_its_own_until_it_is_gone():
    made = history.History()
    for second in range(12):
        both = [stats(reads=10 * second), stats("j", "w", reads=second)]
        made.taken(second, both, {"v", "w"})
    assert [point.read_iops for point in made.points("v")] == pytest.approx([10, 10])
    assert made.newest("w").read_iops == pytest.approx(1)
    assert made.newest().read_iops == pytest.approx(11)
    made.taken(13, [], {"w"})
    assert made.points("v") == []


DAY = 86400.0


def test_the_forecast_is_a_line_through_the_samples():
    rows = [(day * DAY, 100 + 10 * day, 300) for day in range(11)]
    found = forecast.line(rows)
    assert found.per_day_bytes == pytest.approx(10)
    assert found.days_left == pytest.approx(10)


def test_what_shrinks_or_is_too_young_has_no_end():
    assert forecast.line([(0, 100, 300), (DAY, 90, 300)]).days_left is None
    assert forecast.line([(0, 100, 300), (60, 200, 300)]).days_left is None
    assert forecast.line([]).days_left is None

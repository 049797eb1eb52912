"""Histograms: where a duration falls, how they add up, and what a percentile says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain import latency

DURATIONS = st.lists(st.floats(0, 100), min_size=1, max_size=200)


def histogram(durations):
    found = [0] * latency.BUCKETS
    for duration in durations:
        found[latency.bucket(duration)] += 1
    return found


@pytest.mark.parametrize(
    ("duration_s", "bucket"), [(0, 0), (0.0001, 0), (0.00011, 1), (60.0, 16), (61, 17)]
)
def test_a_bound_belongs_to_the_bucket_below_it(duration_s, bucket):
    assert latency.bucket(duration_s) == bucket


@given(DURATIONS, st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_a_percentile_lies_in_the_bucket_of_the_true_one(durations, share):
    ordered = sorted(durations)
    true = ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)]
    found = latency.percentile(histogram(durations), share)
    bounds = (0.0, *latency.BOUNDS_S)
    where = latency.bucket(true)
    assert bounds[where] <= found <= bounds[min(where + 1, len(bounds) - 1)]


def test_no_durations_have_no_percentile():
    assert latency.percentile([0] * latency.BUCKETS, 0.5) is None
    assert latency.percentile([], 0.5) is None


@given(DURATIONS, DURATIONS)
def test_what_came_in_between_is_the_difference(first, more):
    older, newer = histogram(first), histogram(first + more)
    assert latency.since(newer, older) == histogram(more)
    assert latency.total([older, latency.since(newer, older)]) == newer


def test_counting_that_began_anew_counts_whole():
    assert latency.since([1, 2], [5, 0]) == [1, 2]
    assert latency.since([1, 2], []) == [1, 2]


def test_a_shorter_histogram_adds_up_with_a_longer_one():
    assert latency.total([[1], [2, 3]])[:3] == [3, 3, 0]

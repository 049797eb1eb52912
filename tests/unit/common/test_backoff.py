import itertools

from hypothesis import given
from hypothesis import strategies as st

from appliance.common import backoff


def bounds(first: float, limit: float, factor: float):
    value = first
    while True:
        yield value / 2, value
        value = min(limit, value * factor)


@given(st.floats(0.01, 5), st.floats(5, 100), st.floats(1.1, 5))
def test_waits_grow_up_to_the_limit_each_in_the_upper_half(first, limit, factor):
    waits = backoff.Backoff(first, limit, factor)
    for low, high in itertools.islice(bounds(first, limit, factor), 20):
        assert low <= waits.next_s() <= high


def test_after_success_it_begins_anew():
    waits = backoff.Backoff(1, 100)
    for _ in range(5):
        waits.next_s()
    assert waits.next_s() >= 16
    waits.reset()
    assert 0.5 <= waits.next_s() <= 1


def test_two_do_not_wait_equally_long():
    first, second = backoff.Backoff(1, 100), backoff.Backoff(1, 100)
    assert [first.next_s() for _ in range(5)] != [second.next_s() for _ in range(5)]

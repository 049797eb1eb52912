"""A breaker opens at the third failure in a row, probes after a time, and lets calls run side by
side."""

import threading
import time

import pytest

from appliance.common import errors
from appliance.rest import breaker
from tests.fakes import hand_clock


@pytest.fixture
def clock():
    return hand_clock.HandClock()


@pytest.fixture
def guard(clock):
    return breaker.Breaker("the peer", monotonic=clock.monotonic)


def fail():
    raise errors.Unreachable(peer="the peer", why="refused")


def answer():
    return "here"


def failing(guard, times):
    for _ in range(times):
        with pytest.raises(errors.Unreachable):
            guard.call(fail)


def test_the_third_failure_in_a_row_opens_it_and_no_call_goes_out_any_more(guard):
    failing(guard, 2)
    assert guard.state == "closed"
    failing(guard, 1)
    assert guard.state == "open"
    calls = []
    with pytest.raises(errors.Unavailable, match="did not answer 3 times in a row"):
        guard.call(lambda: calls.append(1))
    assert calls == []
    assert guard.figures().refused_calls == 1


def test_half_the_calls_failing_but_never_three_in_a_row_leaves_it_closed(guard):
    for _ in range(50):
        failing(guard, 1)
        assert guard.call(answer) == "here"
        failing(guard, 2)
        guard.call(answer)
        guard.call(answer)
    assert guard.state == "closed"
    assert guard.figures().failed_calls == 150


def test_after_a_time_one_call_is_let_through_and_its_answer_closes_it(guard, clock):
    failing(guard, 3)
    clock.advance(breaker.PROBE_S - 0.1)
    with pytest.raises(errors.Unavailable):
        guard.call(answer)
    clock.advance(0.2)
    assert guard.call(answer) == "here"
    assert guard.state == "closed"


def test_a_probe_that_fails_opens_it_for_as_long_again(guard, clock):
    failing(guard, 3)
    clock.advance(breaker.PROBE_S)
    failing(guard, 1)
    assert guard.state == "open"
    clock.advance(breaker.PROBE_S - 0.1)
    with pytest.raises(errors.Unavailable):
        guard.call(answer)
    assert guard.figures().opened == 2


def test_only_one_call_probes(guard, clock):
    failing(guard, 3)
    clock.advance(breaker.PROBE_S)
    inside, go_on = threading.Event(), threading.Event()

    def slow():
        inside.set()
        assert go_on.wait(10)

    thread = threading.Thread(target=guard.call, args=(slow,))
    thread.start()
    assert inside.wait(10)
    assert guard.state == "half-open"
    with pytest.raises(errors.Unavailable):
        guard.call(answer)
    go_on.set()
    thread.join(10)
    assert guard.state == "closed"


def test_a_refusal_is_an_answer(guard):
    def refuse():
        raise errors.Conflict(why="not now")

    for _ in range(5):
        with pytest.raises(errors.Conflict):
            guard.call(refuse)
    assert guard.state == "closed"
    failing(guard, 2)
    with pytest.raises(errors.Conflict):
        guard.call(refuse)
    failing(guard, 2)
    assert guard.state == "closed"


def test_a_hundred_calls_at_once_to_a_peer_that_hangs_take_few_threads_and_end():
    guard = breaker.Breaker("the peer", at_once=8)
    release = threading.Event()
    most, now, lock = 0, 0, threading.Lock()
    outcomes = []

    def hang():
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        release.wait(10)
        with lock:
            now -= 1
        fail()

    def call():
        try:
            guard.call(hang)
        except errors.BasaltError as exc:
            outcomes.append(type(exc))

    threads = [threading.Thread(target=call) for _ in range(100)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 10
    while len(outcomes) < 92:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert most == 8
    release.set()
    for thread in threads:
        thread.join(10)
    assert outcomes.count(errors.Unreachable) == 8
    assert outcomes.count(errors.Unavailable) == 92
    assert guard.state == "open"


def test_durations_are_told_as_percentiles(guard, clock):
    for tenths in range(1, 101):
        guard.call(lambda tenths=tenths: clock.advance(tenths / 10))
    found = guard.figures()
    assert (found.p50_s, found.p95_s, found.p99_s) == pytest.approx((5.1, 9.6, 10.0))
    assert found.calls == 100

"""Who counts as heard, while a message is in hand and after it."""

import pytest

from appliance.mdm.services import liveness
from tests.fakes import hand_clock


@pytest.fixture
def clock():
    return hand_clock.HandClock()


@pytest.fixture
def alive():
    return liveness.Liveness()


def test_nobody_was_heard_before_the_first_message(alive, clock):
    assert alive.silent_s("a", clock.monotonic()) is None


def test_an_agent_is_not_silent_while_the_mdm_is_at_work_on_its_message(alive, clock):
    with alive.heard("a", clock):
        clock.advance(20)
        assert alive.silent_s("a", clock.monotonic()) == 0
    clock.advance(2)
    assert alive.silent_s("a", clock.monotonic()) == 2, "counted from the answer"


def test_a_message_that_could_not_be_kept_was_heard_too(alive, clock):
    with pytest.raises(ZeroDivisionError), alive.heard("a", clock):
        raise ZeroDivisionError
    clock.advance(3)
    assert alive.silent_s("a", clock.monotonic()) == 3


def test_of_two_messages_in_hand_the_last_counts(alive, clock):
    with alive.heard("a", clock):
        with alive.heard("a", clock):
            clock.advance(5)
        clock.advance(5)
        assert alive.silent_s("a", clock.monotonic()) == 0


def test_who_is_heard_does_not_refuse_any_more(alive, clock):
    alive.refused("a")
    assert alive.refuses("a")
    with alive.heard("a", clock):
        assert not alive.refuses("a")


def test_what_was_expected_is_done_once_a_message_came_after_it(alive, clock):
    with alive.heard("c", clock):
        clock.advance(1)
        alive.expect("a mapping", "c", clock.monotonic())
        clock.advance(9)
    assert alive.overdue(clock.monotonic(), 5) == {"a mapping"}, "that message was sent before"
    with alive.heard("c", clock):
        assert alive.overdue(clock.monotonic(), 5) == set()

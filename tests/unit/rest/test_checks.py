"""Checks: what they find is counted, what can be healed is healed, and never for ever."""

import pytest

from appliance.domain import health
from appliance.rest import checks
from tests.fakes import hand_clock

WELL = (health.Health.HEALTHY, "")
ILL = (health.Health.UNHEALTHY, "it is gone")


class Part:
    def __init__(self):
        self.finding = WELL
        self.healed = 0
        self.heals = False

    def look(self):
        if isinstance(self.finding, Exception):
            raise self.finding
        return self.finding

    def heal(self):
        self.healed += 1
        if not self.heals:
            raise RuntimeError("in vain")
        self.finding = WELL


@pytest.fixture
def clock():
    return hand_clock.HandClock()


@pytest.fixture
def part():
    return Part()


@pytest.fixture
def made(part, clock):
    return checks.Checks([checks.Check("it", part.look, part.heal, "start it", limit=3)], clock)


def only(made):
    (report,) = made.report()
    return report


def test_each_look_is_counted(made):
    for _ in range(4):
        made.run_once()
    assert only(made)["check_count"] == 4
    assert only(made)["state"] == "healthy"
    assert made.overall() is health.Health.HEALTHY


def test_a_part_that_stays_as_it_is_is_logged_once_whatever_the_words(made, part, caplog):
    caplog.set_level("INFO")
    for second in range(5):
        part.finding = (health.Health.DEGRADED, f"no answer for {second} s")
        made.run_once()
    assert [r.getMessage() for r in caplog.records] == [
        "part part=it state=degraded why=no answer for 0 s"
    ]
    assert only(made)["reason"] == "no answer for 4 s"


def test_a_check_that_raises_says_unknown_and_is_no_reason_to_heal(made, part):
    part.finding = RuntimeError("cannot look")
    made.run_once()
    assert only(made)["state"] == "unknown"
    assert only(made)["reason"] == "the check itself failed: cannot look"
    assert part.healed == 0
    assert made.overall() is health.Health.UNKNOWN


def test_an_unhealthy_part_is_healed_and_the_try_is_counted(made, part):
    part.finding, part.heals = ILL, True
    made.run_once()
    made.run_once()
    assert only(made)["state"] == "healthy"
    assert only(made)["heal_attempts"] == 1
    assert made.given_up() == {}


def test_tries_have_growing_pauses_and_a_limit(made, part, clock):
    part.finding = ILL
    made.run_once()
    made.run_once()
    assert part.healed == 1
    for _ in range(20):
        clock.advance(120)
        made.run_once()
    assert part.healed == 3
    assert only(made)["given_up"]
    assert made.given_up() == {"it": (3, "in vain")}


def test_a_part_that_was_well_again_is_healed_anew(made, part, clock):
    part.finding = ILL
    for _ in range(5):
        made.run_once()
        clock.advance(120)
    part.finding = WELL
    made.run_once()
    assert made.given_up() == {}
    part.finding = ILL
    made.run_once()
    assert part.healed == 4


@pytest.mark.parametrize("tells", [True, False, OSError("no such file")])
def test_what_was_given_up_is_tried_once_more_when_its_cause_has_changed(part, clock, tells):
    def changed():
        if isinstance(tells, Exception):
            raise tells
        return tells

    made = checks.Checks(
        [checks.Check("it", part.look, part.heal, "start it", limit=1, changed=changed)], clock
    )
    part.finding = ILL
    made.run_once()
    assert made.given_up() == {"it": (1, "in vain")}
    part.heals = True
    made.run_once()
    assert part.healed == (2 if tells is True else 1)
    assert only(made)["given_up"]  # until it is seen to be well: no alert flaps
    made.run_once()
    assert only(made)["state"] == ("healthy" if tells is True else "unhealthy")
    assert only(made)["given_up"] == (tells is not True)


def test_degraded_is_left_alone(made, part):
    part.finding = (health.Health.DEGRADED, "slow")
    made.run_once()
    assert part.healed == 0
    assert made.overall() is health.Health.DEGRADED

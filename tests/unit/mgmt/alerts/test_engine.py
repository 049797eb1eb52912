"""Alerts are raised once, cleared once, and do not flap, whatever the values do."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.mgmt.alerts import catalog, engine

RULE = engine.Rule("full", "warning", 80, 78, hold_s=5, clear_hold_s=10)
BELOW = engine.Rule("days", "warning", 30, 31, hold_s=0, clear_hold_s=0, below=True)


def reading(value, rule=RULE, component="p"):
    return engine.Reading(rule.id, "pool", component, component, value, f"it is {value}")


def play(rule, values, step_s=1.0, made=None):
    """Raises and clears as (kind, time) of one component with one value each step."""
    made = made or engine.Engine()
    found = []
    for index, value in enumerate(values):
        now = index * step_s
        readings = [] if value is None else [reading(value, rule)]
        outcome = made.step(now, {rule.id: rule}, readings)
        found += [("raised", now) for _ in outcome.raised]
        found += [("cleared", now) for _ in outcome.cleared]
    return found


def test_it_is_raised_once_after_the_hold_and_cleared_once_after_the_clear_hold():
    assert play(RULE, [85] * 20 + [10] * 30) == [("raised", 5), ("cleared", 30)]


def test_a_value_that_was_bad_for_less_than_the_hold_raises_nothing():
    assert play(RULE, ([85] * 5 + [10]) * 10) == []


def test_in_between_the_thresholds_nothing_changes():
    assert play(RULE, [79] * 50) == []
    assert play(RULE, [85] * 6 + [79] * 50) == [("raised", 5)]


def test_a_component_without_a_reading_is_well():
    assert play(RULE, [85] * 6 + [None] * 30) == [("raised", 5), ("cleared", 16)]


def test_below_is_bad_at_or_under_the_threshold():
    assert play(BELOW, [31, 30, 30.5, 31, 32]) == [("raised", 1), ("cleared", 4)]


def test_the_threshold_itself_is_bad():
    rule = replace(RULE, clear_threshold=80, hold_s=0, clear_hold_s=0)
    assert play(rule, [80, 79.9]) == [("raised", 0), ("cleared", 1)]


def test_a_rule_switched_off_clears_what_it_raised_and_raises_nothing():
    made = engine.Engine([("full", "p")])
    off = {"full": replace(RULE, enabled=False)}
    assert made.step(0, off, [reading(99)]).cleared == [("full", "p")]
    assert made.step(100, off, [reading(99)]).raised == []


def test_what_cannot_be_measured_stays_as_it_is():
    made = engine.Engine([("full", "p")])
    rules = {"full": RULE}
    for now in range(100):
        outcome = made.step(now, rules, [], blind={"full"})
        assert (outcome.raised, outcome.cleared) == ([], [])
    assert made.open == {("full", "p")}


def test_what_was_open_before_a_restart_is_not_raised_again():
    assert play(RULE, [85] * 20, made=engine.Engine([("full", "p")])) == []


def test_what_a_person_resolved_has_to_hold_anew():
    made = engine.Engine()
    play(RULE, [85] * 7, made=made)
    made.forget(("full", "p"))
    raised = [now for now in range(10, 30) if made.step(now, {"full": RULE}, [reading(85)]).raised]
    assert raised == [15]


def test_components_are_apart_from_each_other():
    made = engine.Engine()
    rule = replace(RULE, hold_s=0)
    two = [reading(85, component="a"), reading(10, component="b")]
    assert [one.component_id for one in made.step(0, {"full": rule}, two).raised] == ["a"]


VALUES = st.lists(st.one_of(st.none(), st.floats(60, 100)), max_size=200)


@given(VALUES, st.floats(0, 20), st.floats(0, 20), st.floats(60, 90), st.floats(0, 10))
def test_nothing_flaps(values, hold_s, clear_hold_s, threshold, gap):
    rule = engine.Rule("full", "warning", threshold, threshold - gap, hold_s, clear_hold_s)
    found = play(rule, values)
    kinds = [kind for kind, _ in found]
    assert kinds == (["raised", "cleared"] * len(kinds))[: len(kinds)]
    raised = [at for kind, at in found if kind == "raised"]
    for first, second in itertools.pairwise(raised):
        assert second - first >= hold_s + clear_hold_s


@given(VALUES, st.integers(0, 10))
def test_it_is_raised_exactly_when_it_was_bad_for_the_hold(values, hold):
    rule = engine.Rule("full", "warning", 80, 80, float(hold), 1e9)
    bad = [value is not None and value >= 80 for value in values]
    first = next((i for i in range(len(bad)) if i >= hold and all(bad[i - hold : i + 1])), None)
    expected = [] if first is None else [("raised", float(first))]
    assert play(rule, values) == expected


@pytest.mark.parametrize("entry", catalog.BY_ID.values(), ids=lambda entry: entry.id)
def test_every_default_says_what_it_means_and_what_to_do_and_has_hysteresis_that_fits(entry):
    rule = entry.rule()
    assert entry.meaning.endswith(".")
    assert entry.what_to_do.endswith(".")
    assert rule.severity in catalog.SEVERITIES
    assert rule.broken(rule.threshold)
    assert not rule.well(rule.threshold)

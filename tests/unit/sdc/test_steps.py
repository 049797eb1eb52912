import itertools

import pytest

from appliance.sdc import steps
from appliance.sdc.steps import Device, Seen, Step

UP = Seen(running=True, known=True, serving=True)


def _every_seen() -> list[Seen]:
    flags = itertools.product((False, True), repeat=7)
    return [Seen(*values, device) for values in flags for device in Device]


@pytest.mark.parametrize(
    ("seen", "step"),
    [
        (Seen(), Step.START),
        (Seen(running=True), Step.WAIT),
        (Seen(running=True, known=True), Step.WAIT),
        (UP, Step.ATTACH),
        (Seen(running=True, known=True, serving=True, device=Device.BOUND), Step.KEEP),
        (Seen(running=True, known=True, serving=True, device=Device.STALE), Step.RENEW),
        (Seen(device=Device.STALE), Step.START),
        (Seen(running=True, known=True, serving=True, ended=True), Step.KEEP),
        (Seen(running=True, known=True, serving=True, ended=True, clean=True), Step.STOP),
    ],
)
def test_the_way_to_attached(seen: Seen, step: Step) -> None:
    assert steps.next_step(True, seen) is step


@pytest.mark.parametrize(
    ("seen", "step"),
    [
        (Seen(running=True, known=True, serving=True, device=Device.BOUND), Step.DETACH),
        (Seen(device=Device.STALE), Step.DETACH),
        (UP, Step.END),
        (Seen(running=True), Step.END),  # it may have written: what it did is not known yet
        (Seen(running=True, known=True), Step.STOP),  # it never had a map
        (Seen(running=True, known=True, serving=True, asked=True), Step.WAIT),
        (Seen(running=True, known=True, serving=True, asked=True, late=True), Step.STOP),
        (Seen(running=True, known=True, serving=True, asked=True, ended=True), Step.STOP),
        (Seen(), Step.DONE),
    ],
)
def test_the_way_to_detached(seen: Seen, step: Step) -> None:
    assert steps.next_step(False, seen) is step


def test_without_an_order_nothing_is_changed() -> None:
    assert {steps.next_step(None, seen) for seen in _every_seen()} == {Step.KEEP}


def test_a_plugin_is_never_stopped_before_its_device_is_gone() -> None:
    for seen in _every_seen():
        if seen.device is not Device.NONE:
            assert steps.next_step(False, seen) is Step.DETACH


def test_a_plugin_that_may_hold_unflushed_writes_is_asked_to_end_first() -> None:
    for seen in _every_seen():
        if seen.serving and not (seen.ended or seen.clean or seen.late):
            assert steps.next_step(False, seen) is not Step.STOP


def test_two_plugins_never_run_at_once() -> None:
    for wanted, seen in itertools.product((True, False, None), _every_seen()):
        if seen.running:
            assert steps.next_step(wanted, seen) is not Step.START


@pytest.mark.parametrize(
    ("wanted", "seen", "problem", "state"),
    [
        (True, Seen(), False, "starting"),
        (True, Seen(), True, "failed"),
        (True, Seen(running=True, device=Device.BOUND), True, "attached"),
        (True, Seen(running=True, device=Device.STALE), True, "failed"),
        (True, Seen(running=True, ended=True, device=Device.BOUND), False, "failed"),
        (None, Seen(running=True, device=Device.BOUND), False, "attached"),
        (False, Seen(running=True, device=Device.BOUND), True, "attached"),
        (False, Seen(running=True), False, "attached"),
        (False, Seen(), False, "detached"),
    ],
)
def test_the_word_in_the_report(wanted: bool | None, seen: Seen, problem: bool, state: str) -> None:
    assert steps.state(wanted, seen, problem) == state

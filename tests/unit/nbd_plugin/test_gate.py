"""Who waits for whom: overlap, order of arrival, time limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbd_plugin import gate
from tests.fakes import legs

ranges = st.tuples(st.integers(0, 12), st.integers(1, 5)).map(lambda r: (r[0], r[0] + r[1]))


def entering(room: gate.Gate, start: int, end: int) -> legs.Doing:
    """Wait in the gate; returns once the ticket is drawn."""
    before = len(room)
    waiting = legs.Doing(room.enter, start, end)
    legs.until(lambda: len(room) > before)
    return waiting


def test_what_does_not_overlap_passes_at_once():
    room = gate.Gate()
    tickets = [room.enter(start, start + 8, 0.0) for start in (0, 8, 24, 16)]
    for ticket in tickets:
        room.leave(ticket)
    assert len(room) == 0


@pytest.mark.parametrize("other", [(0, 1), (7, 8), (0, 100), (3, 4), (0, 8)])
def test_an_overlap_of_one_byte_waits(other):
    room = gate.Gate()
    ticket = room.enter(0, 8)
    with pytest.raises(TimeoutError):
        room.enter(*other, timeout_s=0.0)
    assert len(room) == 1
    room.leave(ticket)
    room.leave(room.enter(*other, timeout_s=0.0))


def test_tickets_are_served_in_order_of_arrival():
    room = gate.Gate()
    first = room.enter(0, 10)
    second = entering(room, 5, 15)
    third = entering(room, 12, 20)  # free now, but the second came before
    room.leave(first)
    two = second.result()
    assert not third.done
    room.leave(two)
    room.leave(third.result())
    assert len(room) == 0


def test_one_that_gives_up_lets_those_behind_it_pass():
    room = gate.Gate()
    first = room.enter(0, 4)
    with pytest.raises(TimeoutError):
        room.enter(0, 8, 0.0)
    room.leave(room.enter(4, 8, 0.0))
    room.leave(first)
    room.leave(first)
    assert len(room) == 0


def test_the_time_limit_is_for_all_blockers_together(monkeypatch):
    """Each wait is given what is left, whatever the waits before it took."""
    room = gate.Gate()
    tickets = [room.enter(start, start + 1) for start in range(3)]
    now = [0.0]
    monkeypatch.setattr(gate.time, "monotonic", lambda: now[0])
    waits = []

    class Done:
        def set(self) -> None:
            pass

        def wait(self, timeout_s: float) -> bool:
            waits.append(timeout_s)
            now[0] += 2.0
            return len(waits) < 3

    for ticket in tickets:
        ticket.done = Done()
    with pytest.raises(TimeoutError):
        room.enter(0, 3, 5.0)
    assert waits == [5.0, 3.0, 1.0]


@given(st.lists(ranges, min_size=1, max_size=12))
def test_nobody_waits_for_ever_and_no_two_overlap(wanted):
    room = gate.Gate()
    inside: set[tuple[int, int, int]] = set()
    clashes = []

    def use(index: int, start: int, end: int) -> None:
        ticket = room.enter(start, end)
        if any(start < other[2] and other[1] < end for other in inside):
            clashes.append(index)
        inside.add((index, start, end))
        inside.discard((index, start, end))
        room.leave(ticket)

    users = [legs.Doing(use, index, *span) for index, span in enumerate(wanted)]
    for user in users:
        user.result()
    assert not clashes
    assert len(room) == 0

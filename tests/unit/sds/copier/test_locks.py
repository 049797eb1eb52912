"""Locks of one step after another at real control ports."""

import socket

import pytest

from appliance.common import clock, errors
from appliance.sds.copier import holder, locks
from tests.fakes import fake_lock_client

MIB = 1 << 20


@pytest.fixture(params=["line", "request", "dropped line"])
def clients(request):
    made = [fake_lock_client.FakeLockClient() for _ in range(2)]
    for each in made:
        each.knows_lines = request.param != "request"
        each.drops_lines = request.param == "dropped line"
        each.by_requests = request.param != "line"
    yield made
    for each in made:
        each.close()


@pytest.fixture
def chain(clients):
    orders = [each.to_order(f"c{number}") for number, each in enumerate(clients)]
    made = locks.Locks(orders, 1, clock.SystemClock()).chain()
    yield made
    made.close()


def _held(clients):
    return [[words.offset for words in each.held.values()] for each in clients]


def _idle(clients):
    """Whether each comes to hold nothing: giving back on a line is not answered."""
    for each in clients:
        with each.changed:
            if not each.changed.wait_for(lambda each=each: not each.held, 10):
                return False
    return True


def test_the_lock_of_a_step_is_given_back_by_the_request_for_the_next(clients, chain):
    for number in range(3):
        with chain.hold(number * MIB, MIB, 2.0):
            assert _held(clients) == [[number * MIB]] * 2
        assert _held(clients) == [[number * MIB]] * 2
    chain.let_go()
    assert _idle(clients)
    assert [len(each.asked) for each in clients] == [3, 3]
    assert [each.given_back for each in clients] == [1, 1]


def test_nothing_is_held_after_a_client_refused_or_a_step_failed(clients, chain):
    with chain.hold(0, MIB, 2.0):
        pass
    clients[1].refuse = "busy"
    with pytest.raises(holder.NoLock, match="busy"), chain.hold(MIB, MIB, 2.0):
        pass
    assert _idle(clients)
    clients[1].refuse = ""
    with pytest.raises(errors.Unreachable), chain.hold(MIB, MIB, 2.0):
        raise errors.Unreachable(peer="the source", why="gone")
    assert _idle(clients)


def test_each_client_is_spoken_to_as_it_can(clients, chain):
    for number in range(2):
        with chain.hold(number * MIB, MIB, 2.0):
            pass
    assert [len(each.lines) for each in clients] == [
        0 if each.by_requests else 1 for each in clients
    ]


@pytest.mark.parametrize("clients", ["request"], indirect=True)
def test_a_client_of_the_release_before_is_told_by_a_request_of_its_own(clients, chain):
    clients[0].knows_instead_of = False
    for number in range(2):
        with chain.hold(number * MIB, MIB, 2.0):
            assert _held(clients) == [[number * MIB]] * 2
    chain.let_go()
    assert _held(clients) == [[], []]
    assert [each.given_back for each in clients] == [2, 1]


@pytest.mark.parametrize("clients", ["line"], indirect=True)
def test_a_line_that_breaks_costs_one_step_and_its_lock_stays(clients, chain):
    with chain.hold(0, MIB, 2.0):
        clients[0].lines[0].shutdown(socket.SHUT_RDWR)
    with pytest.raises(holder.NoLock, match="c0"), chain.hold(MIB, MIB, 2.0):
        pass
    assert [words.offset for words in clients[0].held.values()] == [0]
    clients[0].held.clear()  # at its limit
    with chain.hold(MIB, MIB, 2.0):
        assert _held(clients) == [[MIB]] * 2
    assert len(clients[0].lines) == 2


@pytest.mark.parametrize("clients", ["line"], indirect=True)
def test_an_answer_that_comes_too_late_is_not_taken_for_the_next(clients, chain, monkeypatch):
    monkeypatch.setattr(holder, "_ANSWER_S", 0.05)
    clients[0].limit_s, clients[0].late = 1.0, 1
    with pytest.raises(holder.NoLock, match="c0"), chain.hold(0, MIB, 0.05):
        pass
    with clients[0].changed:
        assert clients[0].changed.wait_for(lambda: len(clients[0].lines) == 1, 10)
    clients[0].held.clear()
    with chain.hold(MIB, MIB, 2.0):
        assert [words.offset for words in clients[0].held.values()] == [MIB]
    assert len(clients[0].lines) == 2


@pytest.mark.parametrize("clients", ["line"], indirect=True)
def test_a_client_that_is_gone_gives_no_lock(clients, chain):
    clients[0].close()
    with pytest.raises(holder.NoLock, match="c0"), chain.hold(0, MIB, 2.0):
        pass

"""Locks of one step after another at real control ports."""

import pytest

from appliance.common import clock, errors
from appliance.sds.copier import locks
from tests.fakes import fake_lock_client

MIB = 1 << 20


@pytest.fixture
def clients():
    made = [fake_lock_client.FakeLockClient() for _ in range(2)]
    yield made
    for each in made:
        each.close()


@pytest.fixture
def chain(clients):
    orders = [each.to_order(f"c{number}") for number, each in enumerate(clients)]
    return locks.Locks(orders, 1, clock.SystemClock()).chain()


def _held(clients):
    return [[words.offset for words in each.held.values()] for each in clients]


def test_the_lock_of_a_step_is_given_back_by_the_request_for_the_next(clients, chain):
    for number in range(3):
        with chain.hold(number * MIB, MIB, 2.0):
            assert _held(clients) == [[number * MIB]] * 2
        assert _held(clients) == [[number * MIB]] * 2
    chain.let_go()
    assert _held(clients) == [[], []]
    assert [len(each.asked) for each in clients] == [3, 3]
    assert [each.given_back for each in clients] == [1, 1]


def test_nothing_is_held_after_a_client_refused_or_a_step_failed(clients, chain):
    with chain.hold(0, MIB, 2.0):
        pass
    clients[1].refuse = "busy"
    with pytest.raises(locks.NoLock, match="busy"), chain.hold(MIB, MIB, 2.0):
        pass
    assert _held(clients) == [[], []]
    clients[1].refuse = ""
    with pytest.raises(errors.Unreachable), chain.hold(MIB, MIB, 2.0):
        raise errors.Unreachable(peer="the source", why="gone")
    assert _held(clients) == [[], []]


def test_a_client_of_the_release_before_is_told_by_a_request_of_its_own(clients, chain):
    clients[0].knows_instead_of = False
    for number in range(2):
        with chain.hold(number * MIB, MIB, 2.0):
            assert _held(clients) == [[number * MIB]] * 2
    chain.let_go()
    assert _held(clients) == [[], []]
    assert [each.given_back for each in clients] == [2, 1]

"""Hints reach the agents that are there; those that are not hold nobody up."""

import threading
import time

import pytest

from appliance.mdm.services import poker, registration
from appliance.protocol import messages
from tests.fakes import fake_agents


@pytest.fixture
def control():
    made = fake_agents.ControlPort()
    yield made
    made.close()


@pytest.fixture
def hints(site):
    told = threading.Event()
    refused = []

    def refuse(ident):
        refused.append(ident)
        told.set()

    made = poker.Poker(site.clock, refuse)
    made.refused, made.told = refused, told
    made.start(site.ctx.uow)
    yield made
    made.close()


def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline


def join(site, name, port):
    words = messages.Registration(name, ("127.0.0.1",), port)
    return registration.sds(site.ctx, words, "")


def test_an_agent_is_told_at_its_control_port(site, control, hints):
    sds = join(site, "a", control.port)
    sdc = registration.sdc(site.ctx, messages.Registration("c", ("127.0.0.1",), control.port), "")
    hints.poke(frozenset({("sds", sds.id), ("sdc", sdc.id)}))
    until(lambda: control.pokes == 2)
    hints.poke(frozenset({("sds", sds.id)}))
    until(lambda: control.pokes == 3)
    assert hints.refused == []


def test_an_agent_that_moved_is_found_again(site, control, hints):
    there = fake_agents.ControlPort()
    first = join(site, "a", there.port)
    hints.poke(frozenset({("sds", first.id)}))
    until(lambda: there.pokes == 1)
    there.close()
    words = messages.Registration("a", ("127.0.0.1",), control.port)
    registration.sds(site.ctx, words, first.secret)
    site.clock.advance(6)
    hints.poke(frozenset({("sds", first.id)}))
    until(lambda: control.pokes == 1)


def test_an_agent_that_ended_is_noticed(site, hints):
    gone = fake_agents.ControlPort()
    gone.close()
    sds = join(site, "a", gone.port)
    hints.poke(frozenset({("sds", sds.id)}))
    assert hints.told.wait(10)
    assert hints.refused == [sds.id]


def test_nobody_and_nothing_does_no_harm(site, control, hints, caplog):
    hints.poke(frozenset({("sds", "0" * 16)}))
    unstarted = poker.Poker(site.clock, hints.refused.append)
    unstarted.poke(frozenset({("sds", "0" * 16)}))
    unstarted.close()
    hints.close()
    hints.poke(frozenset({("sds", "0" * 16)}))
    assert "crashed" not in caplog.text

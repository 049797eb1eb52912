"""What the MDM is asked for, and how often, by how long it takes to answer."""

import pytest

from appliance.common import errors
from appliance.mgmt.services import history, poller, view
from tests.fakes import hand_clock


class SlowMdm:
    """Each list of volumes takes ``list_s``; ``asked`` are the paths."""

    def __init__(self, clock, list_s, state_s=0.0):
        self._clock = clock
        self._list_s = list_s
        self.state_s = state_s
        self.asked = []
        self.sentence = "all is well"
        self.up = True

    def get(self, path, **_params):
        if not self.up:
            raise errors.Unreachable(peer="the MDM", why="nobody listens")
        self.asked.append(path)
        self._clock.advance(self.state_s if path.endswith("/status") else 0.0)
        return {
            "/api/v1/status": {"cluster": "c", "summary": self.sentence, "jobs": []},
            "/discovery/topology": {"domains": [], "sdcs": []},
            "/api/v1/statistics": {"items": [], "device_sync_s": {}},
            "/api/v1/openapi.json": {"paths": {"/x": {}}},
            "/health/metrics": {},
            "/api/v1/events": {"items": []},
        }[path]

    def items(self, _collection):
        self._clock.advance(self._list_s)
        self.asked.append("volumes")
        return []


@pytest.fixture
def clock():
    return hand_clock.HandClock()


def made(clock, list_s):
    source, seen = SlowMdm(clock, list_s), view.View()
    return source, seen, poller.Poller(source, seen, history.History(), clock)


def test_a_fast_mdm_is_asked_for_everything_each_time(clock):
    source, _seen, asking = made(clock, 0.01)
    for _ in range(5):
        assert asking.run_once()
        clock.advance(0.5)
    assert source.asked.count("volumes") == 5


def test_a_slow_one_is_asked_for_its_state_meanwhile_and_for_all_a_fifth_of_the_time(clock):
    source, seen, asking = made(clock, 2.0)
    began = clock.monotonic()
    assert asking.run_once()
    source.sentence = "a server is down"
    clock.advance(0.5)
    assert not asking.run_once()
    assert source.asked[-1] == "/api/v1/status"
    assert seen.current.status["summary"] == "a server is down"
    while source.asked.count("volumes") < 10:
        clock.advance(0.5)
        asking.run_once()
    assert 20 / (clock.monotonic() - began) <= 0.25


def test_where_even_the_state_takes_long_it_is_asked_for_a_tenth_of_the_time(clock):
    source, _seen, asking = made(clock, 60.0)
    source.state_s = 0.3
    asking.run_once()
    began, asked = clock.monotonic(), source.asked.count("/api/v1/status")
    for _ in range(100):
        clock.advance(0.5)
        asking.run_once()
    took_s = 0.3 * (source.asked.count("/api/v1/status") - asked)
    assert 0 < took_s / (clock.monotonic() - began) <= 0.1


def test_after_it_was_away_everything_is_asked_for_at_once(clock):
    source, seen, asking = made(clock, 2.0)
    asking.run_once()
    source.up = False
    asking.run_once()
    assert "nobody listens" in seen.problem
    source.up = True
    assert asking.run_once()
    assert seen.problem == ""

"""A ping that is late: is it the server, or is the host out of reach?"""

from types import SimpleNamespace

import pytest

from appliance.domain import model
from nbd_plugin import pulse, way


class _Epoch:
    def __init__(self):
        self.blamed = []

    def blame(self, device_id, kind):
        self.blamed.append((device_id, kind))


def _late_ping(host, port):
    leg = model.Leg("x", "sds", "sds", (host,), port, "", "data", "intent")
    ping = pulse._Ping(SimpleNamespace(leg=leg, device_id="x"), None)
    ping.cookie = 1
    return ping


@pytest.mark.parametrize("answers", [True, False])
def test_a_late_ping_tells_a_slow_server_from_a_host_out_of_reach(
    answers, silent, nobody_listens, monkeypatch
):
    monkeypatch.setattr(way, "LIMIT_S", 0.1)
    epoch = _Epoch()
    host, port = silent
    ping = _late_ping(host, nobody_listens if answers else port)
    pulse._late(epoch, ping, pulse.INTERVAL_S)
    assert epoch.blamed == [], "it is late, and may still come"
    ping.attempt.wait()
    pulse._late(epoch, ping, model.PULSE_S)
    assert epoch.blamed == [("x", "suspects" if answers else "unreached")]


def test_a_client_that_slept_through_the_time_of_a_ping_condemns_nobody(silent):
    """Nothing was tried yet: the host may be there."""
    epoch = _Epoch()
    pulse._late(epoch, _late_ping(*silent), 10 * model.PULSE_S)
    assert epoch.blamed == [("x", "suspects")]

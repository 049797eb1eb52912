"""Lost replicas are tried until they answer, and not after."""

import socket
import threading
from dataclasses import replace

import pytest

from appliance.protocol import messages
from appliance.sdc import reaching
from tests.fakes import legs


@pytest.fixture
def server(tmp_path):
    made = legs.LegServer(tmp_path / "x", 1 << 20)
    yield made
    made.kill()


@pytest.fixture
def told():
    return threading.Event()


@pytest.fixture
def tries(told, monkeypatch):
    monkeypatch.setattr(reaching, "_INTERVAL_S", 0.02)
    made = reaching.Reaching(told.set)
    yield made
    made.close()


def probe_of(leg) -> messages.Probe:
    return messages.Probe("x", 7, leg.hosts, leg.port, leg.socket, data=True)


@pytest.mark.parametrize("tcp", [False, True])
def test_a_data_server_that_greets_is_reached(server, tcp):
    probe = probe_of(server.serve(tcp=tcp))
    legs.until(lambda: reaching.reach(probe))
    if tcp:  # a socket that is there and answers nothing does not hide the address
        assert reaching.reach(replace(probe, socket=str(server.folder / "data")))
    server.kill()
    assert not reaching.reach(probe)


def test_a_port_behind_which_no_data_server_answers_is_not_reached(monkeypatch):
    monkeypatch.setattr(reaching, "_TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        probe = messages.Probe("x", 7, ("127.0.0.1",), port, data=True)
        assert not reaching.reach(probe)
        assert reaching.reach(replace(probe, data=False))  # of a control port that is enough
        peers = [listener.accept()[0] for _ in range(2)]
        talking = legs.Doing(reaching.reach, probe)
        peers.append(listener.accept()[0])
        peers[-1].close()  # in the middle of its greeting
        assert talking.result() is False
        for peer in peers:
            peer.close()


def test_it_is_tried_until_it_answers_and_told_once_with_its_generation(server, tries, told):
    leg = server.serve()
    server.kill()
    probe = probe_of(leg)
    tries.want({"m": [probe], "n": []})
    assert tries.reached("m") == {}
    server.serve_again()
    assert told.wait(10)
    assert tries.reached("m") == {"x": 7}
    assert tries.reached("n") == {}
    server.kill()
    tries.want({"m": [probe]})
    assert tries.reached("m") == {"x": 7}  # it need not be bothered again
    later = replace(probe, generation=8)
    tries.want({"m": [later]})
    assert tries.reached("m") == {}
    tries.want({})
    assert tries.reached("m") == {}


def test_nothing_lost_costs_no_thread(told):
    idle = reaching.Reaching(told.set)
    idle.want({"m": ()})
    assert "reaching" not in {thread.name for thread in threading.enumerate()}
    idle.close()

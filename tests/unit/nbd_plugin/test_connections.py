"""Connections to a leg: what is refused, thrown away and shut."""

import contextlib
import dataclasses
import errno
import gc
import socket
from pathlib import Path

import nbd
import pytest

from appliance.domain import model
from nbd_plugin import connections, failures, way
from tests.fakes import hand_clock, legs

K = 4096


@pytest.fixture
def server(tmp_path):
    made = legs.LegServer(tmp_path / "x", 1 << 20)
    yield made
    made.kill()


def test_a_connection_given_back_is_handed_out_again(server):
    pool = connections.LegPool(server.serve())
    one = pool.take()
    pool.put(one)
    assert pool.take() is one
    two = pool.take()
    assert two is not one
    for connection in (one, two):
        pool.discard(connection)


def test_a_wrong_name_is_a_dead_leg(server):
    leg = dataclasses.replace(server.serve(), data_export="guessed")
    with pytest.raises(failures.LegDied):
        connections.LegPool(leg).take()


def test_no_address_and_no_server_are_dead_legs(server):
    leg = server.serve()
    with pytest.raises(failures.LegDied, match="it has no address"):
        connections.LegPool(dataclasses.replace(leg, socket="")).take()
    server.kill()
    with pytest.raises(failures.LegDied, match="Connection refused"):
        connections.LegPool(leg).take()


def test_every_address_is_tried(server):
    leg = server.serve(tcp=True)
    pool = connections.LegPool(
        dataclasses.replace(leg, socket="/nonexistent", hosts=("127.255.255.254", "127.0.0.1"))
    )
    connection = pool.take()
    connection.nbd.pwrite(b"1" * K, 0)
    assert server.read(0, K) == b"1" * K
    pool.discard(connection)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(failures.LegDied, match=f"127.0.0.1:{port}"):
        connections.LegPool(dataclasses.replace(leg, port=port)).take()


def test_a_host_where_nobody_answers_is_told_from_one_that_refuses(
    server, silent, nobody_listens, monkeypatch
):
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT_S", 0.1)
    monkeypatch.setattr(way, "LIMIT_S", 0.1)
    host, port = silent
    leg = dataclasses.replace(server.serve(), socket="/nonexistent", hosts=(host,), port=port)
    with pytest.raises(failures.LegUnreached) as caught:
        connections.LegPool(leg).take()
    assert failures.blamed_for(caught.value) == "unreached"
    attempt = way.Attempt(leg)
    attempt.wait()
    assert attempt.failed
    refusing = dataclasses.replace(leg, hosts=("127.255.255.254", host), port=nobody_listens)
    with pytest.raises(failures.LegDied) as refused:
        connections.LegPool(refusing).take()
    assert failures.blamed_for(refused.value) == "suspects"
    attempt = way.Attempt(refusing)
    attempt.wait()
    assert not attempt.failed


def test_one_that_says_nothing_is_given_up(server, monkeypatch):
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT_S", 0.1)
    leg = server.serve()
    server.stop()
    with pytest.raises(failures.LegDied, match="the handshake took too long"):
        connections.LegPool(leg).take()


def test_one_that_takes_long_is_waited_for_while_its_pulse_goes_on(server, monkeypatch):
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT_S", 0.05)
    clock = hand_clock.HandClock()
    pool = connections.LegPool(server.serve(), clock)
    pool.pulse_s = clock.now
    server.stop()
    looks = []
    patient = pool._patient
    monkeypatch.setattr(pool, "_patient", lambda s: bool(looks.append(s)) or patient(s))
    taking = legs.Doing(pool.take)
    legs.until(lambda: looks and looks[-1] > 0.05)
    assert not taking.done
    server.go_on()
    pool.discard(taking.result())
    server.stop()
    taking = legs.Doing(pool.take)
    clock.advance(model.PULSE_S)  # the pulse stopped
    with pytest.raises(failures.LegDied, match="the handshake took too long"):
        taking.result()


def test_a_pulse_does_not_make_anyone_wait_for_ever(server, monkeypatch):
    monkeypatch.setattr(connections, "CONNECT_LIMIT_S", 0.05)
    pool = connections.LegPool(server.serve())
    pool.pulse_s = float("inf")
    server.stop()
    with pytest.raises(failures.LegDied, match="the handshake took too long"):
        pool.take()


def test_a_full_backlog_is_slow_and_not_dead(tmp_path, server, monkeypatch):
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT_S", 0.05)
    path = str(tmp_path / "full.sock")
    full = dataclasses.replace(server.serve(), socket=path)
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as peers:
        listener.bind(path)
        listener.listen(0)
        queued = peers.enter_context(socket.socket(socket.AF_UNIX))
        queued.connect(path)
        with pytest.raises(failures.LegDied, match="timed out"):
            connections.LegPool(full).take()
        pool = connections.LegPool(full)
        pool.pulse_s = float("inf")
        taking = legs.Doing(pool.take)
        for _ in range(2):  # the one in the queue, and then the one that waits
            peers.enter_context(listener.accept()[0])
        pool.close()  # nobody speaks NBD here
        with pytest.raises(failures.LegDied):
            taking.result()


def test_one_that_is_no_nbd_server_is_a_dead_leg(server):
    leg = server.serve()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        other = dataclasses.replace(leg, socket="", hosts=("127.0.0.1",), port=port)
        taking = legs.Doing(connections.LegPool(other).take)
        peer, _ = listener.accept()
        with peer:
            peer.sendall(b"220 mail.example ESMTP\r\n" * 10)
            with pytest.raises(failures.LegDied):
                taking.result()


def test_closing_wakes_whoever_waits_and_nothing_is_opened_any_more(server):
    pool = connections.LegPool(server.serve())
    connection = pool.take()
    server.stop()
    waiting = legs.Doing(connection.nbd.pread, K, 0)
    pool.close()
    with pytest.raises(nbd.Error):
        waiting.result()
    server.go_on()
    with pytest.raises(failures.LegDied, match="its generation is over"):
        pool.take()


def test_a_connection_that_was_being_made_when_the_pool_closed_is_not_used(server):
    pool = connections.LegPool(server.serve())
    server.stop()
    taking = legs.Doing(pool.take)
    legs.until(lambda: not taking.done)
    pool.close()
    server.go_on()
    with pytest.raises(failures.LegDied, match="its generation is over"):
        taking.result()


@pytest.fixture
def no_collector():
    """Garbage in cycles stays."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_a_pool_leaves_no_descriptor_however_long_it_is_remembered(server):
    leg = server.serve()
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))

    def more() -> int:
        return len(list(descriptors.iterdir())) - before

    pool = connections.LegPool(leg)
    idle, used, failed = pool.take(), pool.take(), pool.take()
    lane, used_lane = pool.take_lane(), pool.take_lane()
    assert more() == 3 * 2 + 2
    pool.discard(failed)
    assert more() == 2 * 2 + 2
    pool.put(idle)
    pool.put_lane(lane)
    pool.close()
    del idle, lane
    pool.put(used)  # everything was answered just before the end
    pool.put_lane(used_lane)
    del used, used_lane
    assert more() == 0


def test_a_refusal_is_told_from_a_death(server):
    pool = connections.LegPool(
        server.serve(["error"], ["error-pread=ENOMEM", "error-pread-rate=100%"])
    )
    connection = pool.take()
    with pytest.raises(nbd.Error) as caught:
        connection.nbd.pread(K, 0)
    refused = pool.failure(connection, "read", caught.value)
    assert isinstance(refused, failures.LegRefused)
    assert (refused.errno, refused.device) == (errno.ENOMEM, "x")
    assert connection.usable()
    server.kill()
    with pytest.raises(nbd.Error) as caught:
        connection.nbd.pread(K, 0)
    assert isinstance(pool.failure(connection, "read", caught.value), failures.LegDied)
    pool.discard(connection)

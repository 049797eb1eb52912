"""The end of a server: what runs is answered, nothing is held up, nothing is left open."""

import logging
import os
import socket
import stat
import threading
import time

import pytest

from appliance.rest import server
from tests.fakes.raw_http import answer, head

HUNDRED_MIB = 100 * 1024 * 1024


def test_the_port_is_free_again_and_no_thread_is_left(application):
    before = set(threading.enumerate())
    made = server.serve(application, "127.0.0.1", 0, threads=3)
    made.close()
    made.close()
    again = server.serve(application, "127.0.0.1", made.port, threads=3)
    again.close()
    deadline = time.monotonic() + 10
    while (left := set(threading.enumerate()) - before) and time.monotonic() < deadline:
        for thread in left:
            thread.join(0.1)
    assert not left


def test_the_listener_may_be_lost_before(serving, caplog):
    with socket.create_connection(("127.0.0.1", serving.port), timeout=20):
        serving._waitress.socket.shutdown(socket.SHUT_RDWR)  # as an error on it would
        deadline = time.monotonic() + 10
        while "http_listener_lost" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.01)
        serving.close(timeout_s=1)
    assert f"http_listener_lost port={serving.port}" in caplog.text
    assert not serving._thread.is_alive()


def test_it_takes_nothing_away_from_a_loop_that_does_not_end_in_time(serving):
    held, leave = threading.Event(), threading.Event()

    class Slow:
        def readable(self) -> bool:
            held.set()
            leave.wait(30)
            return False

        writable = readable

    pipe = list(serving._waitress.trigger._fds)
    serving._map[pipe[1]] = Slow()
    serving._wake()
    assert held.wait(10)
    serving.close(timeout_s=0.1)
    assert serving._thread.is_alive()
    assert all(stat.S_ISFIFO(os.fstat(fd).st_mode) for fd in pipe)
    serving._wake()  # a handler that was still busy
    leave.set()
    serving._thread.join(10)
    assert not serving._thread.is_alive()
    assert serving._waitress.trigger._fds == []
    serving._wake()


def test_many_may_close_it_at_once(application):
    made = server.serve(application, "127.0.0.1", 0, threads=1)
    raised = []

    def close():
        try:
            made.close(timeout_s=1)
        except BaseException as exc:  # noqa: BLE001 - shown below
            raised.append(exc)

    closers = [threading.Thread(target=close) for _ in range(16)]
    for each in closers:
        each.start()
    for each in closers:
        each.join(20)
    assert raised == []
    assert not made._thread.is_alive()


def test_a_running_request_is_answered_first(serving, connect, things):
    got = []
    asking = threading.Thread(target=lambda: got.append(connect(serving.port).get("/slow")))
    asking.start()
    assert things.entered.wait(10)
    closing = threading.Thread(target=serving.close, args=(20,))
    closing.start()
    things.leave.set()
    closing.join(20)
    asking.join(20)
    assert got == [{"slow": True}]


def test_new_connections_are_refused_while_a_request_still_runs(serving, raw, things):
    sock = raw()
    sock.sendall(head("GET /slow HTTP/1.1", "Host: x"))
    assert things.entered.wait(10)
    closing = threading.Thread(target=serving.close, args=(20,))
    closing.start()
    deadline = time.monotonic() + 10
    refused = False
    while not refused and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", serving.port), timeout=1).close()
        except ConnectionError as exc:  # one in the queue of a port that closes is reset
            refused = isinstance(exc, ConnectionRefusedError)
    things.leave.set()
    closing.join(20)
    assert refused


def test_a_request_that_never_ends_does_not_hold_it(serving, raw, things):
    sock = raw()
    sock.sendall(head("GET /slow HTTP/1.1", "Host: x"))
    assert things.entered.wait(10)
    serving.close(timeout_s=0.4)
    assert sock.recv(1) == b""
    things.leave.set()


def test_idle_connections_are_ended(serving, raw):
    sock = raw()
    sock.sendall(head("DELETE /things HTTP/1.1", "Host: x"))
    assert sock.recv(1000).startswith(b"HTTP/1.1 204")
    serving.close()
    assert sock.recv(1) == b""


def test_a_reader_who_does_not_read_is_cut(serving, raw):
    sock = raw()
    sock.sendall(head("GET /big HTTP/1.1", "Host: x"))
    assert sock.recv(20).startswith(b"HTTP/1.1 200")
    serving.close(timeout_s=0.4)
    received = 0
    with pytest.raises(OSError):
        while chunk := sock.recv(1 << 20):
            received += len(chunk)
        raise ConnectionError("ended early")
    assert received < 64 * 1024 * 1024


def test_a_handler_that_outlives_the_server_ends_in_peace(application, things, caplog):
    before = set(threading.enumerate())
    made = server.serve(application, "127.0.0.1", 0, threads=1)
    with socket.create_connection(("127.0.0.1", made.port), timeout=20) as sock:
        sock.sendall(head("GET /slow HTTP/1.1", "Host: x"))
        assert things.entered.wait(10)
        made.close(timeout_s=0.2)
    things.leave.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(20)
    assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []


@pytest.mark.timeout(60)
def test_a_refused_sender_does_not_hold_it(serving, raw, monkeypatch):
    monkeypatch.setattr(server, "_LINGER_S", 1000)
    sock = raw()
    sock.sendall(head("POST /things HTTP/1.1", "Host: x", f"Content-Length: {HUNDRED_MIB}"))
    assert answer(sock)[0] == 413
    serving.close(timeout_s=1000)
    assert not serving._thread.is_alive()

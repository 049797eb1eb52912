"""The real server on real sockets."""

import http.client
import json
import logging
import re
import socket
import threading
import time

import pytest

from appliance.common import errors
from appliance.rest import server, upgrade
from tests.fakes.raw_http import answer, head

HUNDRED_MIB = 100 * 1024 * 1024


def test_a_request_is_answered(serving, connect):
    assert connect(serving.port).get("/things", limit=3) == {
        "limit": 3,
        "all": False,
        "kind": None,
    }


def test_a_connection_goes_on_after_an_answer_without_a_body(raw):
    sock = raw()
    for connection, lasts in (("keep-alive", True), ("close", False)):
        sock.sendall(head("DELETE /things HTTP/1.1", "Host: x", f"Connection: {connection}"))
        response = http.client.HTTPResponse(sock)
        response.begin()
        assert response.status == 204
        assert (response.headers["Connection"] is None) == lasts
        assert response.headers["Content-Length"] is None
        assert response.headers["Transfer-Encoding"] is None
    assert sock.recv(1) == b""


def test_a_connection_is_given_away_after_the_answer_that_says_so(application, serving):
    taken = []

    class Taking:
        def on_get(self, req, resp):
            taken.append(server.take_over(req.env))
            resp.status = 101

    application.add_route("/taking", Taking())
    ours = upgrade.connect("127.0.0.1", serving.port, "/taking", "talk", "t", 20.0, a="b c")
    [theirs] = taken
    with ours, theirs:
        theirs.settimeout(20)
        for one, other in ((ours, theirs), (theirs, ours)):
            one.sendall(b"word")
            assert other.recv(10) == b"word"
        serving.close()  # it is no longer the server's
        ours.sendall(b"more")
        assert theirs.recv(10) == b"more"


def test_a_server_that_does_not_switch_is_told_apart_from_one_that_is_gone(serving):
    assert upgrade.connect("127.0.0.1", serving.port, "/things", "talk", "t", 20.0) is None
    serving.close()
    with pytest.raises(errors.Unreachable):
        upgrade.connect("127.0.0.1", serving.port, "/things", "talk", "t", 20.0)


def test_100_mib_are_refused_before_one_byte_of_them_is_sent(raw):
    sock = raw()
    sock.sendall(
        head(
            "POST /things HTTP/1.1",
            "Host: x",
            "X-Request-Id: big-1",
            "Content-Type: application/json",
            f"Content-Length: {HUNDRED_MIB}",
        )
    )
    status, response, body = answer(sock)
    assert status == 413
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["X-Request-Id"] == "big-1"
    assert response.headers["Connection"] == "close"
    assert body == {
        "title": "Too large",
        "description": f"the request body is {HUNDRED_MIB} bytes; at most 1048576 are taken",
        "code": "too_large",
        "request_id": "big-1",
    }
    assert sock.recv(1) == b""


def test_a_sender_who_waits_for_continue_is_not_invited(raw):
    sock = raw()
    sock.sendall(
        head(
            "POST /things HTTP/1.1",
            "Host: x",
            f"Content-Length: {HUNDRED_MIB}",
            "Expect: 100-continue",
        )
    )
    assert answer(sock)[0] == 413


def test_a_sender_who_waits_for_continue_with_a_small_body_is_invited(raw, things):
    sock = raw()
    body = b'{"name":"waited"}'
    sock.sendall(
        head(
            "POST /things HTTP/1.1",
            "Host: x",
            f"Content-Length: {len(body)}",
            "Expect: 100-continue",
        )
    )
    assert sock.recv(100).startswith(b"HTTP/1.1 100")
    sock.sendall(body)
    assert answer(sock)[0] == 201
    assert things.posted == ["waited"]


def test_a_sender_who_sends_it_all_anyway_still_reads_the_answer(serving, things):
    conn = http.client.HTTPConnection("127.0.0.1", serving.port, timeout=20)
    try:
        conn.request("POST", "/things", body=bytes(8 * 1024 * 1024))
        response = conn.getresponse()
        assert response.status == 413
        assert json.loads(response.read())["code"] == "too_large"
    finally:
        conn.close()
    assert things.posted == []


def test_our_client_reads_the_refusal_too(serving, connect):
    with pytest.raises(errors.TooLarge, match="at most 1048576"):
        connect(serving.port).post("/things", {"name": "x" * HUNDRED_MIB})


def test_a_refused_sender_cannot_send_for_ever(raw, monkeypatch):
    monkeypatch.setattr(server, "_LINGER_S", 0.2)
    sock = raw()
    sock.sendall(head("POST /things HTTP/1.1", "Host: x", f"Content-Length: {HUNDRED_MIB}"))
    with pytest.raises(OSError):
        while True:
            sock.sendall(bytes(1000))


def test_the_largest_body_is_taken_and_one_byte_more_is_not(serving, connect, things):
    client = connect(serving.port)
    empty = len(json.dumps({"name": ""}))
    client.post("/things", {"name": "x" * (server.BODY_LIMIT - empty)})
    with pytest.raises(errors.TooLarge):
        client.post("/things", {"name": "x" * (server.BODY_LIMIT - empty + 1)})
    assert [len(name) for name in things.posted] == [server.BODY_LIMIT - empty]


def test_a_body_in_chunks_is_refused_once_it_is_too_long(raw):
    sock = raw()
    sock.sendall(head("POST /things HTTP/1.1", "Host: x", "Transfer-Encoding: chunked"))
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    for _ in range(17):
        sock.sendall(chunk)
    status, _, body = answer(sock)
    assert (status, body["code"]) == (413, "too_large")
    assert "more than 1048576" in body["description"]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (head("GET /things HTTP/1.1", "Host: x", "Content-Length: many"), 400),
        (head("POST /things HTTP/1.1", "Host: x", "Transfer-Encoding: gzip"), 501),
        (head("GET /things HTTP/1.1", "X: " + "x" * 300_000), 431),
    ],
)
def test_what_is_no_http_is_refused_in_json(raw, request_, status):
    sock = raw()
    sock.sendall(request_)
    got, response, body = answer(sock)
    assert got == status
    assert body["code"] == "invalid"
    assert response.headers["X-Request-Id"] == body["request_id"]


@pytest.mark.parametrize("body", [b"{", b"[" * 100_000, b"\xff", b'{"name":"a"}}'])
def test_broken_json_is_a_400_and_the_connection_goes_on(raw, body):
    sock = raw()
    request = head(
        "POST /things HTTP/1.1",
        "Host: x",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    for _ in range(2):
        sock.sendall(request + body)
        status, _, told = answer(sock)
        assert (status, told["code"]) == (400, "invalid")
        assert told["description"].startswith("body: this is not JSON")


def test_an_unforeseen_exception_is_a_500_and_costs_no_thread(serving, connect, caplog):
    client = connect(serving.port)
    for _ in range(5):  # more than there are threads
        with pytest.raises(errors.BasaltError, match="unforeseen") as caught:
            client.put("/things", {})
        assert caught.value.request_id
        (record, *_) = [r for r in caplog.records if r.levelno == logging.ERROR]
        assert record.exc_info[0] is ZeroDivisionError
    assert client.get("/things")["limit"] == 10


def test_what_happens_outside_the_application_is_json_too(raw, application, monkeypatch):
    def broken(environ, start_response):
        raise RuntimeError("no application at all")

    made = server.serve(broken, "127.0.0.1", 0, threads=1)
    try:
        sock = socket.create_connection(("127.0.0.1", made.port), timeout=20)
        with sock:
            sock.sendall(head("GET / HTTP/1.1", "Host: x"))
            status, _, body = answer(sock)
        assert (status, body["code"]) == (500, "internal")
        assert "no application" not in body["description"]
    finally:
        made.close()


def test_a_connection_cut_in_the_middle_of_a_body_harms_nobody(raw, serving, connect, things):
    for _ in range(5):
        sock = raw()
        sock.sendall(head("POST /things HTTP/1.1", "Host: x", "Content-Length: 500") + b"{")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()  # resets it
    assert connect(serving.port).get("/things")["limit"] == 10
    assert things.posted == []


def test_an_ipv6_address_is_taken_for_one(application):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as plain:
        # A host without IPv6: the very same error, not that "::1" is no address of IPv4.
        with pytest.raises(OSError, match=re.escape(plain.strerror)):
            server.serve(application, "::1", 0, threads=1)
        return
    made = server.serve(application, "::1", 0, threads=1)
    try:
        with socket.create_connection(("::1", made.port), timeout=20) as sock:
            sock.sendall(head("DELETE /things HTTP/1.1", "Host: x"))
            assert sock.recv(100).startswith(b"HTTP/1.1 204")
    finally:
        made.close()


def test_a_taken_port_is_an_error_at_once(serving, application):
    with pytest.raises(OSError, match="in use"):
        server.serve(application, "127.0.0.1", serving.port, threads=1)


def test_many_clients_at_once_are_all_answered(serving, connect):
    client = connect(serving.port)
    answers = []

    def ask(number: int) -> None:
        for _ in range(10):
            answers.append(client.post("/things", {"name": str(number)})["name"] == str(number))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 300


def test_the_loop_rests_while_an_answer_is_sent(monkeypatch, serving, connect):
    """With a hundred connections, a loop that turns for nothing has the GIL for itself."""
    loop, turns, during = [], [], []
    poll, flush = server.wasyncore.poll2, server._Channel._flush_some

    def counted(*args):
        loop[:] = [threading.get_ident()]
        turns.append(1)
        poll(*args)

    def slow(channel, do_close=True):
        if loop != [threading.get_ident()] and not during:
            before = len(turns)
            time.sleep(1)  # as a thread that waits for the GIL
            during.append(len(turns) - before)
        return flush(channel, do_close)

    monkeypatch.setattr(server.wasyncore, "poll2", counted)
    monkeypatch.setattr(server._Channel, "_flush_some", slow)
    api = connect(serving.port)
    assert api.get("/things")["limit"] == 10
    assert during, "the handler's thread sends"
    assert during[0] < 20, "two a second, and what the request itself takes"

"""The client against real servers, well and ill."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from appliance.common import errors, log
from appliance.rest import client, server


@contextlib.contextmanager
def stub(reply: bytes | None) -> Iterator[tuple[int, list[bytes]]]:
    """A server that answers every request with ``reply``, cuts it (b""), or never does (None)."""
    seen: list[bytes] = []
    kept: list[socket.socket] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            kept.append(sock)
            data = sock.recv(65536)
            seen.append(data)
            if reply is not None:
                sock.sendall(reply)
                sock.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield listener.getsockname()[1], seen
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)
        for sock in kept:
            sock.close()


@pytest.fixture
def dead() -> Iterator[int]:
    """A port where nobody listens, and which nobody else is given."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def http(status: str, body: str, *headers: str) -> bytes:
    length = f"Content-Length: {len(body)}"
    lines = [f"HTTP/1.1 {status}", length, "Connection: close", *headers, "", body]
    return "\r\n".join(lines).encode()


def test_answers_are_parsed_json(serving, connect):
    made = connect(serving.port)
    assert made.get("/things", limit=3, all=True, kind=None) == {
        "limit": 3,
        "all": True,
        "kind": None,
    }
    assert made.get("/things", kind="a b&c=d/ä")["kind"] == "a b&c=d/ä"
    assert made.post("/things", {"name": "ä"}) == {"name": "ä", "size_bytes": 0}
    assert made.delete("/things") is None


def test_a_body_left_out_is_an_empty_object(serving, connect):
    with pytest.raises(errors.Invalid, match=r"name: a value is needed"):
        connect(serving.port).post("/things")


@pytest.mark.parametrize("base", ["http://127.0.0.1:{}", "http://127.0.0.1:{}/"])
def test_a_base_url_may_end_in_a_slash(serving, base):
    made = client.Client([base.format(serving.port)])
    assert made.get("/things")["limit"] == 10
    made.close()


def test_an_error_comes_back_as_its_class_in_the_servers_words(serving, connect):
    made = connect(serving.port)
    with log.request("trace-7"), pytest.raises(errors.InUse) as caught:
        made.patch("/things", {})
    assert str(caught.value) == "thing 't1' is in use: it is being looked at"
    assert caught.value.code == "in_use"
    assert caught.value.request_id == "trace-7"
    assert isinstance(caught.value, errors.Conflict)


def test_an_unknown_code_is_a_plain_error_with_the_words():
    body = '{"title":"New","description":"too new","code":"brand_new","request_id":"r"}'
    with stub(http("409 Conflict", body)) as (port, _):
        made = client.Client([f"http://127.0.0.1:{port}"])
        with pytest.raises(errors.BasaltError, match=r"^too new$") as caught:
            made.get("/")
        made.close()
    assert type(caught.value) is errors.BasaltError


def test_token_agent_and_request_id_are_sent():
    with stub(http("204 No Content", "")) as (port, seen):
        made = client.Client([f"http://127.0.0.1:{port}"], token="t0k", user_agent="basalt-sds/1")
        with log.request("id-1"):
            made.get("/x")
        made.get("/x")
        made.close()
    inside, outside = (data.lower() for data in seen)
    assert b"\r\nauthorization: bearer t0k\r\n" in inside
    assert b"\r\nuser-agent: basalt-sds/1\r\n" in inside
    assert b"\r\nx-request-id: id-1\r\n" in inside
    assert b"x-request-id" not in outside


def test_without_a_token_none_is_sent():
    with stub(http("204 No Content", "")) as (port, seen):
        made = client.Client([f"http://127.0.0.1:{port}"])
        made.get("/x")
        made.close()
    assert b"authorization" not in seen[0].lower()


@pytest.mark.parametrize(
    ("verb", "args", "outcome"),
    [
        ("get", (), contextlib.nullcontext()),
        ("post", ({"name": "n"},), contextlib.nullcontext()),
        ("put", (), pytest.raises(errors.BasaltError, match="unforeseen")),
        ("patch", ({},), pytest.raises(errors.InUse)),
        ("delete", (), contextlib.nullcontext()),
    ],
)
def test_the_next_address_is_tried_when_no_connection_can_be_made(
    serving, connect, dead, verb, args, outcome
):
    made = connect(dead, serving.port)
    with outcome:
        getattr(made, verb)("/things", *args)


def test_the_address_that_answered_last_is_asked_first():
    body = '{"a":1}'
    with stub(b"") as (ill, tries), stub(http("200 OK", body)) as (well, _):
        made = client.Client([f"http://127.0.0.1:{ill}", f"http://127.0.0.1:{well}"])
        assert made.get("/") == {"a": 1}
        assert made.get("/") == {"a": 1}
        made.close()
        assert len(tries) == 1


def test_a_get_that_is_cut_is_asked_of_the_next_address(serving):
    with stub(b"") as (port, _):
        made = client.Client([f"http://127.0.0.1:{port}", f"http://127.0.0.1:{serving.port}"])
        assert made.get("/things")["limit"] == 10
        made.close()


def test_a_change_that_may_have_been_done_is_not_asked_for_twice(serving, things):
    with stub(b"") as (port, seen):
        made = client.Client([f"http://127.0.0.1:{port}", f"http://127.0.0.1:{serving.port}"])
        with pytest.raises(errors.Unreachable):
            made.post("/things", {"name": "once"})
        made.close()
        assert len(seen) == 1
    assert things.posted == []


def test_nobody_there_names_every_address_tried(dead, connect):
    made = connect(dead, dead)
    with pytest.raises(errors.Unreachable) as caught:
        made.get("/x")
    assert str(caught.value).count(f"http://127.0.0.1:{dead}: Connection refused") == 2


@pytest.mark.timeout(60)
def test_a_server_that_never_answers_costs_one_timeout():
    with stub(None) as (port, _):
        made = client.Client([f"http://127.0.0.1:{port}"], timeout_s=0.2)
        with pytest.raises(errors.Unreachable, match="no answer in time"):
            made.get("/x")
        made.close()


def test_a_slow_server_is_not_waited_for(serving, connect, things):
    made = connect(serving.port, timeout_s=0.2)
    with pytest.raises(errors.Unreachable, match="no answer in time"):
        made.get("/slow")
    things.leave.set()
    assert made.get("/things")["limit"] == 10


@pytest.mark.parametrize(
    "reply",
    [
        http("502 Bad Gateway", "<html>"),
        http("200 OK", "<html>"),
        http("500 Internal Server Error", '{"oops":1}'),
        http("404 Not Found", "[]"),
        b"SSH-2.0-OpenSSH_9.2\r\n",
        http("200 OK", "{}").replace(b"Content-Length: 2", b"Content-Length: 200"),
    ],
)
def test_an_answer_that_is_not_basalts_is_no_answer(reply):
    with stub(reply) as (port, _):
        made = client.Client([f"http://127.0.0.1:{port}"])
        with pytest.raises(errors.Unreachable, match=rf"http://127\.0\.0\.1:{port}"):
            made.get("/x")
        made.close()


def test_no_redirection_is_followed(serving):
    elsewhere = f"Location: http://127.0.0.1:{serving.port}/things"
    with stub(http("302 Found", "", elsewhere)) as (port, _):
        made = client.Client([f"http://127.0.0.1:{port}"])
        with pytest.raises(errors.Unreachable, match="it answered HTTP 302 and no error"):
            made.get("/x")
        made.close()


def test_a_server_that_came_back_is_found_again(application):
    first = server.serve(application, "127.0.0.1", 0, threads=1)
    made = client.Client([f"http://127.0.0.1:{first.port}"])
    assert made.get("/things")["limit"] == 10
    first.close()
    with pytest.raises(errors.Unreachable):
        made.get("/things")
    second = server.serve(application, "127.0.0.1", first.port, threads=1)
    assert made.post("/things", {"name": "back"})["name"] == "back"
    made.close()
    second.close()


def test_no_address_at_all_is_refused():
    with pytest.raises(errors.Invalid, match="address"):
        client.Client([])


def test_what_json_cannot_say_is_not_sent(serving, connect):
    with pytest.raises(ValueError, match="JSON compliant"):
        connect(serving.port).post("/things", {"name": float("nan")})


@pytest.mark.parametrize(("part", "quoted"), [("a/b", "a%2Fb"), ("..", ".."), ("ä?", "%C3%A4%3F")])
def test_parts_of_a_path_can_be_quoted(part, quoted):
    assert client.quote(part) == quoted

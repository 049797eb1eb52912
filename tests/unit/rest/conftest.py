"""A small application behind a real server, for the tests of the HTTP layer."""

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from appliance.common import errors
from appliance.rest import app, body, client, server


class Thing(body.Body):
    name: str
    size_bytes: int = 0


class Page(body.Query):
    limit: int = 10
    all: bool = False
    kind: str | None = None


class Things:
    """Answers, fails, and blocks when told to."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.leave = threading.Event()
        self.posted: list[str] = []

    def on_get(self, req, resp):
        resp.media = body.query(req, Page).model_dump()

    def on_post(self, req, resp):
        thing = body.read(req, Thing)
        self.posted.append(thing.name)
        resp.status = 201
        resp.media = thing.model_dump()

    def on_put(self, req, resp):
        raise ZeroDivisionError("seven by zero")

    def on_delete(self, req, resp):
        resp.status = 204

    def on_patch(self, req, resp):
        raise errors.InUse(kind="thing", key="t1", why="it is being looked at")

    def on_get_slow(self, req, resp):
        self.entered.set()
        self.leave.wait(30)
        resp.media = {"slow": True}

    def on_get_big(self, req, resp):
        resp.data = b"x" * (64 * 1024 * 1024)


@pytest.fixture
def things() -> Iterator[Things]:
    made = Things()
    yield made
    made.leave.set()


@pytest.fixture
def application(things):
    made = app.create(quiet=("/things",))
    made.add_route("/things", things)
    made.add_route("/slow", things, suffix="slow")
    made.add_route("/big", things, suffix="big")
    return made


@pytest.fixture
def serving(application) -> Iterator[server.Server]:
    made = server.serve(application, "127.0.0.1", 0, threads=2)
    yield made
    made.close(timeout_s=1)


@pytest.fixture
def connect() -> Iterator[Callable[..., client.Client]]:
    made = []

    def make(*ports: int, **options) -> client.Client:
        made.append(client.Client([f"http://127.0.0.1:{port}" for port in ports], **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def raw(serving):
    """Opens plain connections to the server."""
    made = []

    def connect() -> socket.socket:
        made.append(socket.create_connection(("127.0.0.1", serving.port), timeout=20))
        return made[-1]

    yield connect
    for each in made:
        each.close()

"""A client host's control port as copiers and scrubbers see it: range locks, granted or not, and
the steps of a scrub."""

import contextlib
import dataclasses
import json
import socket
import threading
from collections.abc import Callable

import falcon

from appliance.common import errors
from appliance.protocol import codec, messages
from appliance.rest import app as rest_app
from appliance.rest import server

TOKEN = "lock-token-of-the-fake"


class FakeLockClient:
    """``late``: how many locks are answered only after their limit has passed."""

    def __init__(self, limit_s: float = 2.0, late: int = 0) -> None:
        self.limit_s = limit_s
        self.refuse = ""
        self.late = late
        self.changed = threading.Condition()
        self.asked: list[messages.LockRequest] = []
        self.held: dict[str, messages.LockRequest] = {}
        self.most_held = 0
        #: how many locks were given back by requests of their own
        self.given_back = 0
        #: a client of an earlier release passes over what it does not know
        self.knows_instead_of = True
        self.knows_lines = True
        #: what an agent does with a line whose plugin does not know them
        self.drops_lines = False
        self.lines: list[socket.socket] = []
        self.scrubs: list[messages.ScrubRequest] = []
        self.on_scrub: Callable[[messages.ScrubRequest], None] = lambda words: None
        application = rest_app.create()
        application.add_route("/locks", _Locks(self))
        application.add_route("/locks/{ident}", _Lock(self))
        application.add_route("/lock-line", _LockLine(self))
        application.add_route("/scrubs", _Scrubs(self))
        self._server = server.serve(application, "127.0.0.1", 0, 8)
        self.port = self._server.port

    def close(self) -> None:
        for line in self.lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def to_order(self, incarnation: str) -> messages.LockClient:
        return messages.LockClient(incarnation, ("127.0.0.1",), self.port, TOKEN)

    def lock(self, words: messages.LockRequest) -> dict[str, object]:
        with self.changed:
            self.asked.append(words)
            if self.knows_instead_of:
                self.held.pop(words.instead_of, None)
            if self.refuse:
                raise errors.Unavailable(why=self.refuse)
            late, self.late = self.late > 0, max(0, self.late - 1)
            ident = f"lock-{len(self.asked)}"
            self.held[ident] = words
            self.most_held = max(self.most_held, len(self.held))
            for other in self.held.values():
                overlap = other is not words and abs(other.offset - words.offset) < words.length
                assert not overlap, (other, words)
            self.changed.notify_all()
        if late:
            threading.Event().wait(self.limit_s * 1.5)
        answer: dict[str, object] = {"id": ident, "limit_s": self.limit_s}
        return answer | ({"instead_of": words.instead_of} if self.knows_instead_of else {})

    def unlock(self, ident: str) -> None:
        with self.changed:
            self.given_back += 1
            self.held.pop(ident, None)
            self.changed.notify_all()

    def serve_line(self, line: socket.socket, incarnation: str, generation: int) -> None:
        """What the plugin does; each answered step counts as a request."""
        held = ""
        with contextlib.suppress(OSError), line, line.makefile("rb") as lines:
            line.settimeout(None)
            for data in lines:
                step = codec.from_json(messages.StepLock, json.loads(data))
                if not step.length:
                    self.unlock(held)
                    held = ""
                    continue
                asked = dataclasses.asdict(step)
                words = messages.LockRequest(incarnation, TOKEN, generation, **asked)
                words = dataclasses.replace(words, instead_of=held)
                answer = messages.StepAnswer(limit_s=self.limit_s)
                held = ""
                try:
                    held = str(self.lock(words)["id"])
                except errors.Unavailable as exc:
                    answer = messages.StepAnswer(why=str(exc))
                line.sendall(json.dumps(codec.to_json(answer)).encode() + b"\n")


class _Locks:
    def __init__(self, client: FakeLockClient) -> None:
        self._client = client

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        if req.get_header("Authorization") != f"Bearer {TOKEN}":
            raise errors.Unauthenticated(why="wrong lock token")
        words = codec.from_json(messages.LockRequest, json.load(req.bounded_stream))
        resp.media = self._client.lock(words)


class _Lock:
    def __init__(self, client: FakeLockClient) -> None:
        self._client = client

    def on_delete(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        self._client.unlock(ident)
        resp.status = falcon.HTTP_204


class _LockLine:
    def __init__(self, client: FakeLockClient) -> None:
        self._client = client

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        if not self._client.knows_lines:
            raise errors.NotFound(kind="path", key=req.path)
        if req.get_header("Authorization") != f"Bearer {TOKEN}":
            raise errors.Unauthenticated(why="wrong lock token")
        line = server.take_over(req.env)
        resp.status = falcon.HTTP_101
        if self._client.drops_lines:
            line.close()
            return
        self._client.lines.append(line)
        terms = (req.get_param("incarnation"), req.get_param_as_int("generation"))
        threading.Thread(target=self._client.serve_line, args=(line, *terms), daemon=True).start()


class _Scrubs:
    def __init__(self, client: FakeLockClient) -> None:
        self._client = client

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        if req.get_header("Authorization") != f"Bearer {TOKEN}":
            raise errors.Unauthenticated(why="wrong lock token")
        words = codec.from_json(messages.ScrubRequest, json.load(req.bounded_stream))
        self._client.scrubs.append(words)
        self._client.on_scrub(words)
        resp.status = falcon.HTTP_204

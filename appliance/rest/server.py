"""Serves a role's WSGI application with waitress, in threads of the role's own process.

Called by each ``__main__``. Beyond waitress itself: what is no HTTP or too large is refused in
Basalt's JSON before a byte of the body is read, and ``close`` ends within a known time.
"""

import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import waitress
from waitress import channel, parser, task, wasyncore

from appliance.common import errors
from appliance.rest import errors as rest_errors
from appliance.rest import lanes, middleware

logger = logging.getLogger(__name__)

#: Longest request body taken, in bytes.
BODY_LIMIT = 1024 * 1024

#: Open connections at most; each costs one descriptor.
CONNECTION_LIMIT = 1000

#: How long a refused sender may go on sending what is thrown away, so that it reads the answer
#: and not a reset connection (RFC 9112, 9.6).
_LINGER_S = 2.0

#: The request's connection in a WSGI environment; see ``take_over``.
_CONNECTION = "basalt.connection"


class Server:
    """A running server. ``port`` is the one bound. Made by ``serve``."""

    def __init__(
        self,
        app: Callable[..., Any],
        host: str,
        port: int,
        threads: int,
        urgent: tuple[str, ...] = (),
    ) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.create_server((host, port), family=family, backlog=1024)
        self.port: int = sock.getsockname()[1]
        self._map: dict[int, Any] = {}
        handlers = task.ThreadedTaskDispatcher()
        handlers.queue = lanes.Lanes(urgent)
        handlers.set_thread_count(threads)
        self._waitress = waitress.create_server(
            app,
            map=self._map,
            _dispatcher=handlers,
            sockets=[sock],
            ident="basalt",
            connection_limit=CONNECTION_LIMIT,
            max_request_body_size=BODY_LIMIT + 1,  # the first size refused
            asyncore_use_poll=True,
            log_socket_errors=False,  # a peer that vanishes is not this server's error
        )
        self._waitress.channel_class = _Channel
        # Left to itself, waitress answers trouble with the listener by closing the pipe that wakes
        # the loop too: a later write to it is an error, or lands in what has its number by then.
        self._waitress.pull_trigger = self._wake
        self._waitress.close = self._listener_lost
        self._lock = threading.Lock()
        self._awake = True
        self._ends_at: float | None = None
        self._ending = False
        self._thread = threading.Thread(target=self._run, name=f"http-{self.port}", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """Take no new request, let running ones end, send their answers; at most ``timeout_s``.

        Connections that are still open then are cut. Calling it again does nothing.
        """
        with self._lock:
            if self._ends_at is not None:
                return
            self._ends_at = time.monotonic() + timeout_s
        self._wake(self._stop_listening)
        self._waitress.task_dispatcher.shutdown(timeout=timeout_s / 2)
        self._wake(self._end_connections)
        self._thread.join(timeout_s + 1)

    def _run(self) -> None:
        try:
            self._loop()
        finally:
            # Closed by whoever polls it, when nobody polls it any more: never from close, which
            # may give up waiting. A handler that outlives the loop finds nobody to wake.
            with self._lock:
                self._awake = False
                self._waitress.trigger.close()

    def _loop(self) -> None:
        while not self._ending or self._waitress.active_channels:
            try:
                wasyncore.poll2(0.5 if self._ends_at is None else 0.05, self._map)
            except Exception:  # one broken connection must not end the server
                logger.exception("http_loop_failed port=%d", self.port)
            if self._ends_at is not None and time.monotonic() > self._ends_at:
                for conn in list(self._waitress.active_channels.values()):
                    conn.cut()

    def _wake(self, then: Callable[[], None] | None = None) -> None:
        """Make the loop look again, and do ``then`` in its thread; nothing once it has ended."""
        with self._lock:
            if self._awake:
                self._waitress.trigger.pull_trigger(then)

    def _listener_lost(self) -> None:
        logger.error("http_listener_lost port=%d", self.port)
        self._stop_listening()

    def _stop_listening(self) -> None:
        self._waitress.accepting = False
        wasyncore.dispatcher.close(self._waitress)

    def _end_connections(self) -> None:
        self._ending = True
        for conn in list(self._waitress.active_channels.values()):
            conn.end()


def serve(
    app: Callable[..., Any], host: str, port: int, threads: int, urgent: tuple[str, ...] = ()
) -> Server:
    """Serve ``app`` at ``host``:``port`` (0: any free port) with ``threads`` handler threads.

    Requests whose path begins as one of ``urgent`` are handled before those that came earlier.
    Returns once connections are accepted. Raises OSError if the address cannot be bound.
    """
    # Waiting for a free thread is normal under load, and waitress warns of each one.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    return Server(app, host, port, threads, urgent)


class _Parser(parser.HTTPRequestParser):
    """Does not invite a body that is refused already."""

    def received(self, data: bytes) -> int:
        consumed: int = super().received(data)
        if self.error is not None:
            self.expect_continue = False
        return consumed


class _ErrorTask(task.ErrorTask):
    """Answers what never reached the application, in the same JSON as any other error."""

    def execute(self) -> None:
        refused = self.request.error
        ident = middleware.accepted_request_id(self.request.headers.get("X_REQUEST_ID"))
        if refused.code == 413:
            size = self.request.content_length or f"more than {BODY_LIMIT}"
            code = errors.TooLarge.code
            why = str(errors.TooLarge(size=size, limit=BODY_LIMIT))
        elif refused.code >= 500 and refused.code != 501:
            code, why = errors.BasaltError.code, str(refused.body)
        else:
            code, why = errors.Invalid.code, f"this is no HTTP request: {refused.body}"
        logger.info(
            "request_refused status=%d code=%s peer=%s refused_id=%s",
            refused.code,
            code,
            self.channel.addr[0],
            ident,
        )
        answer = json.dumps(rest_errors.body(code, why, ident)).encode()
        self.status = f"{refused.code} {refused.reason}"
        self.response_headers += [("Content-Type", "application/json"), ("X-Request-Id", ident)]
        self.set_close_on_finish()
        self.content_length = len(answer)
        self.channel.lingers = True
        self.write(answer)


def take_over(environ: dict[str, Any]) -> socket.socket:
    """The connection of the request that ``environ`` is of: the caller's, to close too.

    For a request that is answered with 101: after that answer the server is done with it.
    """
    connection: socket.socket = environ[_CONNECTION].dup()
    return connection


class _Task(task.WSGITask):
    """Keeps the connection after an answer that has no body by its status, such as 204: its end is
    known without a length (RFC 9112, 6.3). waitress would close it."""

    _stays = False

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        environ[_CONNECTION] = self.channel.socket
        return environ

    def build_response_header(self) -> bytes:
        asked = self.request.headers.get("CONNECTION", "").lower()
        self._stays = self.version == "1.1" and not self.has_body and asked != "close"
        switches = self.status.startswith("101")
        if switches:  # headers that a WSGI application may not set
            protocol = self.request.headers.get("UPGRADE", "")
            self.response_headers += [("Connection", "Upgrade"), ("Upgrade", protocol)]
        try:
            return bytes(super().build_response_header())
        finally:
            self._stays = False
            if switches:
                self.close_on_finish = True

    def set_close_on_finish(self) -> None:
        if not self._stays:
            super().set_close_on_finish()


class _Channel(channel.HTTPChannel):
    """A connection that, after a refusal, reads on for a moment before it closes."""

    parser_class = _Parser
    task_class = _Task
    error_task_class = _ErrorTask
    lingers = False
    _closes_at = 0.0
    _writing = False

    def write_soon(self, data: bytes) -> int:
        """Called by the thread that answers, which sends what the socket takes.

        Meanwhile the loop must not ask whether the socket takes more: it would turn and turn, and
        keep that thread from the GIL it needs to be done.
        """
        self._writing = True
        try:
            return int(super().write_soon(data))
        finally:
            self._writing = False
            if self.total_outbufs_len:
                self.server.pull_trigger()

    def end(self) -> None:
        """Close as soon as what was answered is sent, without reading on."""
        self.lingers = False
        if self._closes_at:
            self.handle_close()
        else:
            self.close_when_flushed = True

    def cut(self) -> None:
        """Close now, whatever was not sent."""
        self.lingers = False
        self.handle_close()

    def readable(self) -> bool:
        return bool(self._closes_at or super().readable())

    def writable(self) -> bool:
        if self._closes_at:
            return time.monotonic() >= self._closes_at
        if self._writing and self.total_outbufs_len <= self.adj.outbuf_high_watermark:
            return bool(self.will_close)
        return bool(super().writable())

    def handle_read(self) -> None:
        if self._closes_at:
            self.recv(65536)  # closes this channel at the end of the stream
        else:
            super().handle_read()

    def handle_close(self) -> None:
        if self.lingers and not self._closes_at and self.connected:
            self._closes_at = time.monotonic() + _LINGER_S
            try:
                self.socket.shutdown(socket.SHUT_WR)
                return
            except OSError:  # it is gone already
                pass
        super().handle_close()

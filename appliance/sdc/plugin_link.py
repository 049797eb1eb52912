"""The agent's end of the link to a plugin: one JSON object a line over the plugin's Unix socket.

The plugin listens, so that it outlives the agent; this end connects, and connects again. What
was sent and perhaps lost is the caller's to send again when ``on_connected`` is called.
"""

import contextlib
import dataclasses
import json
import logging
import os
import socket
import threading
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

from appliance.common import backoff, errors, log
from appliance.domain import model
from appliance.protocol import codec, messages

logger = logging.getLogger(__name__)

#: Longest line taken, and longest wait for a plugin that reads nothing.
_LINE_LIMIT = 1 << 20
_SEND_LIMIT_S = 2.0

_RETRY_FIRST_S = 0.02
_RETRY_LIMIT_S = 0.5


class Link:
    """All methods may be called from any thread; only ``lock`` and ``scrub`` wait for the plugin.

    ``on_connected`` is called after each connect and ``on_news`` whenever the status changed in
    more than its statistics; both from the link's own thread.
    """

    def __init__(
        self,
        path: Path,
        incarnation: str,
        on_connected: Callable[[], None],
        on_news: Callable[[], None],
    ) -> None:
        self._path = path
        self._incarnation = incarnation
        self._on_connected = on_connected
        self._on_news = on_news
        self._mutex = threading.Lock()
        self._peer: socket.socket | None = None
        self._closed = threading.Event()
        self._asked: dict[str, futures.Future[None]] = {}
        self._status: messages.PluginStatus | None = None
        self._thread = threading.Thread(target=self._run, name=f"link-{incarnation}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Disconnect; the plugin goes on."""
        self._closed.set()
        with self._mutex:
            self._disconnect()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(_SEND_LIMIT_S + _RETRY_LIMIT_S)

    @property
    def connected(self) -> bool:
        return self._peer is not None

    @property
    def status(self) -> messages.PluginStatus | None:
        """The newest one told; None if none was."""
        return self._status

    def send_map(self, volume_map: model.VolumeMap) -> bool:
        """Whether it was sent, as with every method of this kind."""
        return self._send(
            {"op": "map", "map": codec.to_json(volume_map), "incarnation": self._incarnation}
        )

    def open_generation(self, generation: int) -> bool:
        return self._send({"op": "open_generation", "generation": generation})

    def end(self) -> bool:
        return self._send({"op": "end"})

    def fail(self, why: str) -> bool:
        return self._send({"op": "fail", "why": why})

    def send_lock_line(self, line: socket.socket, generation: int, limit_s: float) -> bool:
        """Let the plugin serve ``line``: locks under ``generation``, none above ``limit_s``."""
        message = {"op": "lock_line", "generation": generation, "limit_s": limit_s}
        return self._send(message, line)

    def lock(self, ident: str, generation: int, offset: int, length: int, limit_s: float) -> None:
        """Hold the range for ``limit_s``; returns when writes in flight there are done (R8).

        Raises errors.Unavailable if the plugin refuses, is not there or does not answer.
        """
        message = {
            "op": "lock",
            "id": ident,
            "generation": generation,
            "offset": offset,
            "length": length,
            "limit_s": limit_s,
        }
        try:
            self._ask(ident, message, limit_s)
        except TimeoutError as exc:
            self.unlock(ident)
            raise errors.Unavailable(why="the client's plugin gave no answer in time") from exc

    def scrub(self, ident: str, request: messages.ScrubRequest, limit_s: float) -> None:
        """Have the plugin do a step of a scrub; returns when it is done.

        Raises errors.Unavailable if the plugin refuses, is not there or does not answer: it may
        still do it then.
        """
        message = {
            "op": "scrub",
            "id": ident,
            "step": request.step,
            "generation": request.generation,
            "offset": request.offset,
            "length": request.length,
            "device_id": request.device_id,
        }
        try:
            self._ask(ident, message, limit_s)
        except TimeoutError as exc:
            raise errors.Unavailable(why="the client's plugin gave no answer in time") from exc

    def _ask(self, ident: str, message: dict[str, Any], limit_s: float) -> None:
        """Send a message that is answered, and wait. Raises errors.Unavailable, TimeoutError."""
        answer: futures.Future[None] = futures.Future()
        with self._mutex:
            self._asked[ident] = answer
        try:
            if not self._send(message):
                raise errors.Unavailable(why="the client's plugin is not connected")
            answer.result(limit_s)
        finally:
            with self._mutex:
                self._asked.pop(ident, None)

    def unlock(self, ident: str) -> bool:
        return self._send({"op": "unlock", "id": ident})

    def _run(self) -> None:
        pause = backoff.Backoff(_RETRY_FIRST_S, _RETRY_LIMIT_S)
        while not self._closed.is_set():
            peer = self._connect()
            if peer is None:
                self._closed.wait(pause.next_s())
                continue
            pause.reset()
            try:
                self._on_connected()
                self._serve(peer)
            except Exception:  # a link must outlive any bug in what it calls
                logger.exception("link_failed incarnation=%s", self._incarnation)
            finally:
                with self._mutex:
                    self._disconnect()
            if not self._closed.is_set():
                logger.info("plugin_disconnected incarnation=%s", self._incarnation)
                self._on_news()

    def _connect(self) -> socket.socket | None:
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        peer.settimeout(_SEND_LIMIT_S)
        try:
            peer.connect(os.fspath(self._path))
        except OSError:  # not there yet, or no more
            peer.close()
            return None
        with self._mutex:
            self._peer = peer
        return peer

    def _serve(self, peer: socket.socket) -> None:
        rest = b""
        while not self._closed.is_set():
            try:
                data = peer.recv(65536)
            except TimeoutError:
                continue
            except OSError as exc:
                logger.debug("link_broken incarnation=%s why=%s", self._incarnation, exc)
                return
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > _LINE_LIMIT:
                logger.warning("link_line_too_long incarnation=%s", self._incarnation)
                return
            for line in lines:
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
            operation = message.pop("op")
            if operation == "status":
                self._take_status(codec.from_json(messages.PluginStatus, message))
            elif operation in ("locked", "scrubbed"):
                self._take_answer(
                    operation, message["id"], bool(message["ok"]), str(message.get("why", ""))
                )
            else:
                logger.warning("link_unknown op=%s", operation)
        except (ValueError, KeyError, TypeError, AttributeError, errors.Invalid) as exc:
            logger.warning("link_bad_line incarnation=%s why=%s", self._incarnation, exc)

    def _take_status(self, status: messages.PluginStatus) -> None:
        if status.incarnation != self._incarnation:
            logger.warning("link_foreign got=%s want=%s", status.incarnation, self._incarnation)
            return
        old, self._status = self._status, status
        if old is None or _essence(old) != _essence(status):
            self._on_news()

    def _take_answer(self, operation: str, ident: str, done: bool, why: str) -> None:
        with self._mutex:
            answer = self._asked.get(ident)
        if answer is None:
            if done and operation == "locked":
                self.unlock(ident)  # nobody waits for it any more
        elif done:
            answer.set_result(None)
        else:
            what = "the range cannot be locked: " if operation == "locked" else ""
            answer.set_exception(errors.Unavailable(why=what + why))

    def _send(self, message: dict[str, Any], handed: socket.socket | None = None) -> bool:
        """Whether it was sent; ``handed`` is a connection that goes with it."""
        if (ident := log.request_id()) != "-":
            message["request_id"] = ident  # for the plugin's log
        data = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        with self._mutex:
            if self._peer is None:
                return False
            try:
                if handed is not None:
                    data = data[socket.send_fds(self._peer, [data], [handed.fileno()]) :]
                self._peer.sendall(data)
            except OSError as exc:
                # Part of a line may be out, so the connection is of no more use.
                logger.warning("link_send_failed incarnation=%s why=%s", self._incarnation, exc)
                self._disconnect()
                return False
        return True

    def _disconnect(self) -> None:
        """Called with the mutex held."""
        peer, self._peer = self._peer, None
        if peer is not None:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)  # wakes the reader, which close alone does not
            peer.close()
        lost = errors.Unavailable(why="the client's plugin went away")
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(lost)


def _essence(status: messages.PluginStatus) -> messages.PluginStatus:
    """What the MDM must hear at once: all but what changes with every request."""
    return dataclasses.replace(status, stats=messages.IoStats(), unflushed=False)

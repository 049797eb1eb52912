"""The plugin's end of the link to its SDC agent: one JSON object a line over a Unix socket.

The plugin listens, so that it outlives a restart of the agent; a newer connection replaces an
older one. Without an agent I/O goes on; only turns have to wait.
"""

import collections
import contextlib
import contextvars
import json
import logging
import os
import pathlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

from appliance.common import errors, log
from appliance.domain import model
from appliance.protocol import codec
from nbd_plugin import failures, lock_line, scrubbing
from nbd_plugin.volume import Volume

logger = logging.getLogger(__name__)

#: Longest line taken: a map of 64 columns is some 40 KiB.
_LINE_LIMIT = 1 << 20

#: Bytes and connections taken at once; more of these cannot come with what one call reads.
_RECEIVED = 65536
_HANDED_LIMIT = 8

#: Statistics are sent this often even if nothing else changed.
_STATUS_INTERVAL_S = 1.0


#: The arguments of ``Volume.lock``: id, generation, offset, length, limit.
_Step = tuple[str, int, int, int, float]


class AgentLink:
    """``changed()`` may be called from any thread; it never blocks."""

    def __init__(self, path: str, incarnation: str) -> None:
        self._path = path
        self._incarnation = incarnation
        self._volume: Volume | None = None
        self._news = threading.Event()
        self._send_lock = threading.Lock()
        self._peer: socket.socket | None = None

    def start(self, volume: Volume) -> None:
        """Listen, and serve ``volume`` from now on. Raises OSError if the path cannot be bound."""
        self._volume = volume
        pathlib.Path(self._path).unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        mask = os.umask(0o177)
        try:
            listener.bind(self._path)
        finally:
            os.umask(mask)
        listener.listen(4)
        for name, body, args in (
            ("basalt-link", self._accept, (listener,)),
            ("basalt-status", self._report, ()),
        ):
            threading.Thread(target=body, args=args, name=name, daemon=True).start()

    def changed(self) -> None:
        self._news.set()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            peer, _ = listener.accept()
            old = self._peer
            if old is not None:
                # Before the lock: whoever holds it may be waiting for an agent that reads nothing.
                with contextlib.suppress(OSError):
                    old.shutdown(socket.SHUT_RDWR)
            with self._send_lock:
                self._peer = peer
            self._news.set()
            threading.Thread(
                target=self._serve, args=(peer,), name="basalt-agent", daemon=True
            ).start()

    def _serve(self, peer: socket.socket) -> None:
        handed: collections.deque[socket.socket] = collections.deque()
        try:
            with peer:
                for line in _lines(peer, handed):
                    try:
                        message = json.loads(line)
                        with log.request(str(message.get("request_id", "-"))):
                            self._obey(message, handed)
                    except (ValueError, KeyError, TypeError, AttributeError, errors.Invalid):
                        logger.exception("bad_message size=%d", len(line))
        except OSError as exc:
            logger.info("agent_gone why=%s", exc)
        finally:
            for connection in handed:
                connection.close()

    def _obey(self, message: dict[str, Any], handed: collections.deque[socket.socket]) -> None:
        volume = self._volume
        if volume is None:
            return
        match message["op"]:
            case "map":
                if message["incarnation"] == self._incarnation:
                    volume.adopt(codec.from_json(model.VolumeMap, message["map"]))
            case "open_generation":
                volume.leave(message["generation"])
            case "lock":
                step = (
                    str(message["id"]),
                    int(message["generation"]),
                    int(message["offset"]),
                    int(message["length"]),
                    float(message["limit_s"]),
                )
                if not self._locked(volume, step, wait=False):
                    self._in_thread("basalt-lock", self._lock, volume, step)
            case "lock_line":
                line = handed.popleft()
                terms = (int(message["generation"]), float(message["limit_s"]))
                self._in_thread("basalt-locks", lock_line.serve, volume, line, *terms)
            case "scrub":
                asked = (
                    str(message["id"]),
                    str(message["step"]),
                    int(message["generation"]),
                    int(message["offset"]),
                    int(message["length"]),
                    str(message["device_id"]),
                )
                self._in_thread("basalt-scrub", self._scrub, volume, *asked)
            case "unlock":
                volume.unlock(message["id"])
            case "end":
                self._in_thread("basalt-end", volume.finish)
            case "fail":
                volume.fail(message["why"])
            case other:
                logger.warning("unknown_message op=%s", other)

    def _in_thread(self, name: str, body: Any, *args: Any) -> None:
        """What may wait for I/O must not keep the next map from being read."""
        run = contextvars.copy_context().run  # the log's request id goes with it
        threading.Thread(target=run, args=(body, *args), name=name, daemon=True).start()

    def _lock(self, volume: Volume, step: _Step) -> None:
        if not self._locked(volume, step, wait=True):
            self._send(_locked_answer(step, "writes in flight did not end in time"))

    def _locked(self, volume: Volume, step: _Step, wait: bool) -> bool:
        """Lock, and answer; False if there was no time for what is to be waited for."""
        why = ""
        try:
            volume.lock(*step, wait=wait)
        except TimeoutError:
            return False
        except (failures.EpochOver, failures.LockIdInUse) as exc:
            why = str(exc)
        self._send(_locked_answer(step, why))
        return True

    def _scrub(self, volume: Volume, ident: str, step: str, *what: Any) -> None:
        why = ""
        try:
            scrubbing.scrub(volume, step, *what)
        except (errors.BasaltError, OSError) as exc:
            why = str(exc)
        self._send({"op": "scrubbed", "id": ident, "ok": not why, "why": why})

    def _report(self) -> None:
        while True:
            self._news.wait(_STATUS_INTERVAL_S)
            self._news.clear()
            if self._volume is not None and self._peer is not None:
                self._send({"op": "status", **codec.to_json(self._volume.status())})

    def _send(self, message: dict[str, Any]) -> None:
        data = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        with self._send_lock:
            if self._peer is None:
                return
            try:
                self._peer.sendall(data)
            except OSError as exc:
                logger.info("agent_gone why=%s", exc)
                self._peer = None


def _lines(peer: socket.socket, handed: collections.deque[socket.socket]) -> Iterator[bytes]:
    """Lines as they come, until the end; the connections that came with them go to ``handed``, in
    the lines' order. A line that is too long comes in parts. Raises OSError."""
    rest = b""
    while True:
        data, descriptors, _, _ = socket.recv_fds(
            peer, _RECEIVED, _HANDED_LIMIT, socket.MSG_CMSG_CLOEXEC
        )
        handed.extend(socket.socket(fileno=each) for each in descriptors)
        if not data:
            return
        *whole, rest = (rest + data).split(b"\n")
        yield from whole
        if len(rest) > _LINE_LIMIT:
            yield rest
            rest = b""


def _locked_answer(step: _Step, why: str) -> dict[str, Any]:
    return {"op": "locked", "id": step[0], "ok": not why, "why": why}

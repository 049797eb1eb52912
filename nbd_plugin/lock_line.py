"""Serves a lock line: range locks for one copying thread, one at a time (R8).

The agent checked who is at the other end, and handed the connection on (``messages.locks``).
"""

import contextlib
import json
import logging
import math
import secrets
import socket

from appliance.common import errors
from appliance.protocol import codec, messages
from nbd_plugin import failures
from nbd_plugin.volume import Volume

logger = logging.getLogger(__name__)

#: Longest line taken, in bytes.
_LINE_LIMIT = 4096

#: When the host at the other end is asked for a sign of life, how often, and how many times before
#: the line is given up. Seconds.
_KEEPALIVE = (
    (socket.TCP_KEEPIDLE, 30),
    (socket.TCP_KEEPINTVL, 10),
    (socket.TCP_KEEPCNT, 3),
)


def serve(volume: Volume, line: socket.socket, generation: int, limit_s: float) -> None:
    """Answer what comes on ``line`` until it ends: locks under ``generation``, none for longer than
    ``limit_s``. What is held then ends at its limit, not before: the step may be under way."""
    logger.info("lock_line_began generation=%d", generation)
    held = ""
    with contextlib.suppress(OSError), line, line.makefile("rb") as lines:
        _prepare(line)
        while data := lines.readline(_LINE_LIMIT):
            try:
                asked = _read(data)
            except (ValueError, errors.Invalid) as exc:
                logger.warning("lock_line_ended why=%s", exc)
                return
            if held:
                volume.unlock(held)
                held = ""
            if asked.length:
                ident = secrets.token_hex(8)
                answer = _locked(volume, ident, generation, asked, limit_s)
                held = "" if answer.why else ident
                line.sendall(json.dumps(codec.to_json(answer)).encode() + b"\n")


def _prepare(line: socket.socket) -> None:
    line.settimeout(None)
    with contextlib.suppress(OSError):  # one that is not TCP has no need of it
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            line.setsockopt(socket.IPPROTO_TCP, option, value)


def _read(data: bytes) -> messages.StepLock:
    """Raises ValueError or errors.Invalid."""
    asked = codec.from_json(messages.StepLock, json.loads(data))
    if asked.offset < 0 or asked.length < 0 or not 0 <= asked.limit_s < math.inf:
        raise errors.Invalid(what="lock", why="limit_s, offset and length describe no range")
    return asked


def _locked(
    volume: Volume, ident: str, generation: int, asked: messages.StepLock, limit_s: float
) -> messages.StepAnswer:
    limit_s = min(asked.limit_s, limit_s)
    try:
        volume.lock(ident, generation, asked.offset, asked.length, limit_s)
    except TimeoutError:
        return messages.StepAnswer(why="writes in flight did not end in time")
    except (failures.EpochOver, failures.LockIdInUse) as exc:
        return messages.StepAnswer(why=str(exc))
    return messages.StepAnswer(limit_s=limit_s)

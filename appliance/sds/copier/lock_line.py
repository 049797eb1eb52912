"""The copier's end of a lock line (``messages.locks``): a client's range locks, one at a time."""

import json
import socket

from appliance.common import errors
from appliance.protocol import codec, messages
from appliance.rest import upgrade

#: Longest answer taken, in bytes.
_ANSWER_LIMIT = 65536


class Line:
    """For one thread. ``ask`` raises TimeoutError if no answer comes within ``answer_s`` and the
    lock's limit, another OSError if the line broke; it is to be closed then."""

    def __init__(self, connection: socket.socket, answer_s: float) -> None:
        self._connection = connection
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answer_s = answer_s
        self._holds = False
        #: whether anybody served it so far
        self.answered = False

    def ask(self, offset: int, length: int, limit_s: float) -> messages.StepAnswer:
        """Hold this range, and no longer the one before."""
        self._connection.settimeout(limit_s + self._answer_s)
        self._holds = False
        self._send(messages.StepLock(offset, length, limit_s))
        data = b""
        while not data.endswith(b"\n"):
            more = self._connection.recv(_ANSWER_LIMIT)
            if not more or len(data) > _ANSWER_LIMIT:
                raise ConnectionError("the line ended")
            data += more
        try:
            answer = codec.from_json(messages.StepAnswer, json.loads(data))
        except (ValueError, errors.Invalid) as exc:
            raise ConnectionError(f"no answer to a lock: {exc}") from exc
        self.answered = True
        self._holds = not answer.why
        return answer

    def give_back(self) -> None:
        """Raises OSError if the line broke: what was held ends by itself at its limit."""
        if self._holds:
            self._holds = False
            self._send(messages.StepLock(0, 0, 0.0))

    def close(self) -> None:
        self._connection.close()

    def _send(self, words: messages.StepLock) -> None:
        self._connection.sendall(json.dumps(codec.to_json(words)).encode() + b"\n")


def connect(
    to: messages.LockClient, generation: int, timeout_s: float, answer_s: float
) -> Line | None:
    """A line to the client's plugin; None if its agent gives none, as one of an earlier release
    does. Raises errors.Unreachable if it does not answer at any of its addresses."""
    failed = []
    for host in to.hosts:
        try:
            connection = upgrade.connect(
                host,
                to.port,
                "/lock-line",
                messages.LOCK_LINE,
                to.token,
                timeout_s,
                incarnation=to.incarnation,
                generation=generation,
            )
        except errors.Unreachable as exc:
            failed.append(str(exc))
            continue
        return None if connection is None else Line(connection, answer_s)
    raise errors.Unreachable(peer="the client", why="; ".join(failed))

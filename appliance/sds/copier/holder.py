"""The range lock of one step after another at one client that has the volume mapped (R8).

On a lock line where the client has one; else, of a release before it, by a request for each step.
"""

import logging
from typing import Any

from appliance.common import errors
from appliance.protocol import codec, messages
from appliance.rest import client
from appliance.sds.copier import lock_line

logger = logging.getLogger(__name__)

#: The longest lock a step asks for, in seconds.
MAX_LIMIT_S = 8.0

#: How much longer than a lock's limit its answer is waited for: it comes after the drain.
_ANSWER_S = 2.0


class NoLock(errors.Unreachable):
    """A client did not give the lock of a step; ``incarnation`` is which."""

    code = "no_lock"
    template = "client {incarnation} gives no lock: {why}"

    def __init__(self, incarnation: str, why: str) -> None:
        super().__init__(incarnation=incarnation, why=why)
        self.incarnation = incarnation


class Holder:
    """For one thread; holds one range at a time."""

    def __init__(self, each: messages.LockClient, caller: client.Client, generation: int) -> None:
        self._client = each
        self._caller = caller
        self._generation = generation
        self._line: lock_line.Line | None = None
        self._lineless = False
        #: the id of what a request got, until it is given back
        self._kept = ""

    def ask(self, offset: int, length: int, limit_s: float) -> float:
        """The limit granted, in seconds; what was held before no longer is. Raises NoLock."""
        try:
            answer = self._on_line(offset, length, limit_s)
        except (errors.Unreachable, OSError) as exc:
            raise NoLock(self._client.incarnation, str(exc)) from exc
        if answer is None:
            return self._by_request(offset, length, limit_s)
        if answer.why:
            raise NoLock(self._client.incarnation, answer.why)
        return answer.limit_s

    def give_back(self) -> None:
        if self._line is not None:
            try:
                self._line.give_back()
            except OSError as exc:  # it ends by itself at its limit
                logger.info("unlock_failed why=%s", exc)
                self.close()
        if self._kept:
            ident, self._kept = self._kept, ""
            self._release(ident)

    def close(self) -> None:
        """End the line: what it holds ends at its limit."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def _on_line(self, offset: int, length: int, limit_s: float) -> messages.StepAnswer | None:
        """None if there is no line to be had. Raises errors.Unreachable or OSError."""
        if self._lineless:
            return None
        if self._line is None:
            self._line = lock_line.connect(
                self._client, self._generation, MAX_LIMIT_S + _ANSWER_S, _ANSWER_S
            )
        if self._line is None:
            self._lineless = True
            return None
        try:
            return self._line.ask(offset, length, limit_s)
        except TimeoutError:
            self.close()
            raise
        except OSError:
            answered = self._line.answered
            self.close()
            if answered:
                raise
            # The agent handed it on to a plugin of an earlier release, which dropped it.
            self._lineless = True
            return None

    def _by_request(self, offset: int, length: int, limit_s: float) -> float:
        before = self._kept
        words = messages.LockRequest(
            incarnation=self._client.incarnation,
            token=self._client.token,
            generation=self._generation,
            offset=offset,
            length=length,
            limit_s=limit_s,
            instead_of=before,
        )
        try:
            answer = self._caller.post("/locks", codec.to_json(words))
        except errors.BasaltError as exc:
            raise NoLock(self._client.incarnation, str(exc)) from exc
        granted_s, self._kept = self._read(answer)
        if before and answer.get("instead_of") != before:
            self._release(before)  # a client of a release that does not know it
        return granted_s

    def _read(self, answer: Any) -> tuple[float, str]:
        if not isinstance(answer, dict) or not isinstance(answer.get("limit_s"), int | float):
            raise NoLock(self._client.incarnation, "it answered without the lock's limit")
        return float(answer["limit_s"]), str(answer.get("id", ""))

    def _release(self, ident: str) -> None:
        try:
            self._caller.delete(f"/locks/{client.quote(ident)}")
        except errors.BasaltError as exc:  # it ends by itself at its limit
            logger.info("unlock_failed why=%s", exc)


def reach(each: messages.LockClient) -> client.Client:
    """How to speak to a client's control port."""
    return client.Client(
        [f"http://{_bracketed(host)}:{each.port}" for host in each.hosts],
        each.token,
        timeout_s=_ANSWER_S + MAX_LIMIT_S,
        user_agent="basalt-copier",
    )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host

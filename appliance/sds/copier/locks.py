"""Range locks at every client that has the volume mapped, for one step of a copy (R8).

A lock drains the client's writes in the range and holds new ones until it is given back or its
limit has passed, whichever is first; what counts is that the step ended within the limit.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from appliance.common import clock, errors
from appliance.protocol import codec, messages
from appliance.rest import client

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


class Held:
    """The locks of one step. ``expired`` once any may have run out."""

    def __init__(self, time: clock.Clock) -> None:
        self._time = time
        self._began = time.monotonic()
        self._limit_s = float("inf")

    def limit(self, limit_s: float) -> None:
        self._limit_s = min(self._limit_s, limit_s)

    @property
    def expired(self) -> bool:
        """Measured from before the first request, hence never later than at any client."""
        return self._time.monotonic() - self._began >= self._limit_s


class Locks:
    """Thread-safe. Without clients nothing is asked of anybody."""

    def __init__(
        self, clients: Sequence[messages.LockClient], generation: int, time: clock.Clock
    ) -> None:
        self._generation = generation
        self._time = time
        self._clients = [(each, reach(each)) for each in clients]

    @contextmanager
    def hold(self, offset: int, length: int, limit_s: float) -> Iterator[Held]:
        """Raises NoLock if not every client agreed."""
        chain = self.chain()
        with chain.hold(offset, length, limit_s) as held:
            yield held
        chain.let_go()

    def chain(self) -> "Chain":
        return Chain(self._clients, self._generation, self._time)


class Chain:
    """The locks of one step after another, for one thread: the request for the next one gives the
    one before back, so that a step costs one request. ``let_go`` before anything that may wait."""

    def __init__(
        self,
        clients: Sequence[tuple[messages.LockClient, client.Client]],
        generation: int,
        time: clock.Clock,
    ) -> None:
        self._clients = clients
        self._generation = generation
        self._time = time
        #: what is still held of the step before, by index of the client
        self._kept: dict[int, str] = {}

    @contextmanager
    def hold(self, offset: int, length: int, limit_s: float) -> Iterator[Held]:
        """Raises NoLock if not every client agreed. After a step that failed nothing is held."""
        held = Held(self._time)
        try:
            for index, (each, _) in enumerate(self._clients):
                words = messages.LockRequest(
                    incarnation=each.incarnation,
                    token=each.token,
                    generation=self._generation,
                    offset=offset,
                    length=length,
                    limit_s=limit_s,
                    instead_of=self._kept.get(index, ""),
                )
                held.limit(min(limit_s, self._asked(index, words)))
            yield held
        except BaseException:
            self.let_go()
            raise

    def let_go(self) -> None:
        """Give back what is held."""
        while self._kept:
            index, ident = self._kept.popitem()
            _release(self._clients[index][1], ident)

    def _asked(self, index: int, words: messages.LockRequest) -> float:
        """The limit granted, in seconds."""
        each, caller = self._clients[index]
        try:
            answer = caller.post("/locks", codec.to_json(words))
        except errors.BasaltError as exc:
            raise NoLock(each.incarnation, str(exc)) from exc
        granted_s, ident = _read(each, answer)
        if words.instead_of and answer.get("instead_of") != words.instead_of:
            _release(caller, words.instead_of)  # a client of a release that does not know it
        self._kept[index] = ident
        return granted_s


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


def _read(each: messages.LockClient, answer: Any) -> tuple[float, str]:
    if not isinstance(answer, dict) or not isinstance(answer.get("limit_s"), int | float):
        raise NoLock(each.incarnation, "it answered without the lock's limit")
    return float(answer["limit_s"]), str(answer.get("id", ""))


def _release(caller: client.Client, ident: str) -> None:
    try:
        caller.delete(f"/locks/{client.quote(ident)}")
    except errors.BasaltError as exc:  # it ends by itself at its limit
        logger.info("unlock_failed why=%s", exc)

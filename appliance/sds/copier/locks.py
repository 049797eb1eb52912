"""Range locks at every client that has the volume mapped, for one step of a copy (R8).

A lock drains the client's writes in the range and holds new ones until it is given back or its
limit has passed, whichever is first; what counts is that the step ended within the limit.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from appliance.common import clock
from appliance.protocol import messages
from appliance.sds.copier import holder


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
        self._clients = [(each, holder.reach(each)) for each in clients]

    def chain(self) -> "Chain":
        """For the calling thread."""
        holders = [holder.Holder(*each, self._generation) for each in self._clients]
        return Chain(holders, self._time)


class Chain:
    """The locks of one step after another, for one thread: asking for the next one gives the one
    before back, so that a step costs each client one question. ``let_go`` before anything that may
    wait."""

    def __init__(self, holders: Sequence[holder.Holder], time: clock.Clock) -> None:
        self._holders = holders
        self._time = time

    @contextmanager
    def hold(self, offset: int, length: int, limit_s: float) -> Iterator[Held]:
        """Raises holder.NoLock if not every client agreed. After a step that failed nothing is
        held."""
        held = Held(self._time)
        try:
            for each in self._holders:
                held.limit(min(limit_s, each.ask(offset, length, limit_s)))
            yield held
        except BaseException:
            self.let_go()
            raise

    def let_go(self) -> None:
        """Give back what is held."""
        for each in self._holders:
            each.give_back()

    def close(self) -> None:
        """As ``let_go``, for good."""
        for each in self._holders:
            each.give_back()
            each.close()

"""What a copier or scrubber and the clients that may write tell each other.

A range lock is asked for in a ``LockRequest`` to the client's agent; or, for many steps one after
another, on a *lock line*: a connection that the agent hands on to its plugin, so that a lock costs
one line there and one back. A lock outlives its line, up to its limit: the step may not be over.
"""

from dataclasses import dataclass

#: What a lock line is called in the ``Upgrade`` header of the request that becomes one.
LOCK_LINE = "basalt-locks"


@dataclass(frozen=True, slots=True)
class LockClient:
    """A client whose range lock each copy step needs (R8)."""

    incarnation: str
    hosts: tuple[str, ...]
    port: int
    token: str


@dataclass(frozen=True, slots=True)
class LockRequest:
    """Hold ``[offset, offset + length)`` for ``limit_s`` at most, under ``generation``.

    ``instead_of``: the id of a lock that is given back first, whatever comes of this one.
    """

    incarnation: str
    token: str
    generation: int
    offset: int
    length: int
    limit_s: float
    instead_of: str = ""


@dataclass(frozen=True, slots=True)
class StepLock:
    """A line on a lock line, which holds one range at a time: give back what is held, then hold
    this range for ``limit_s`` at most. ``length`` 0: nothing more; this is not answered.
    """

    offset: int
    length: int
    limit_s: float


@dataclass(frozen=True, slots=True)
class StepAnswer:
    """The answer: for how long at most the range is held now, or ``why`` it is not."""

    limit_s: float = 0.0
    why: str = ""


@dataclass(frozen=True, slots=True)
class ScrubRequest:
    """What a scrubber asks of a client that writes, under ``generation``. ``step``:

    ``watch``: from now on notice writes into the region at ``offset``;
    ``scrubbed``: take its touched mark away if it is clean and had no write since ``watch``;
    ``rewrite``: write what device ``device_id`` has of the range to every replica.
    """

    incarnation: str
    token: str
    generation: int
    step: str
    offset: int
    length: int
    device_id: str = ""

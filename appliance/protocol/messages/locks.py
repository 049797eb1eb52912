"""What a copier or scrubber and the clients that may write tell each other."""

from dataclasses import dataclass


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

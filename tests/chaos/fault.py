"""What a fault is: how it begins, how it is put right, and what it may cost."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos import cluster


@dataclass(frozen=True, slots=True)
class Fault:
    """``begin`` and ``heal`` are called once each, in that order, by one thread.

    ``hosts`` are those it is made on: two faults of one host at once could not be healed one by
    one. ``ends_mapping``: the client itself is hit. ``cuts``: SDSs whose page cache is gone.
    ``fills``: ENOSPC is an answer. ``excuses``: tracebacks that match are of its making.
    """

    name: str
    hosts: frozenset[str]
    begin: Callable[[], object]
    heal: Callable[[], object]
    ends_mapping: bool = False
    cuts: frozenset[str] = frozenset()
    fills: bool = False
    excuses: str = ""


Maker = Callable[[cluster.NetCluster, random.Random, str], Fault]


def only(host: str) -> frozenset[str]:
    return frozenset({host})


def nothing() -> None:
    """Some faults heal by themselves."""

"""Bytes for simulated agents: page caches, intent marks, writes in flight, copies under lock.

One block per region, one column. What is written is a number; a later write has a higher one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from appliance.domain import model
from tests.fakes import simulated_agents

BLOCKS = (0, 1)


@dataclass(slots=True)
class Store:
    """The files of one leg: ``cache`` hides ``disk`` until it is synced; marks are durable."""

    disk: dict[int, int] = field(default_factory=dict)
    cache: dict[int, int] = field(default_factory=dict)
    marks: dict[str, set[int]] = field(default_factory=dict)
    joined: set[int] = field(default_factory=set)
    copied: tuple[int, set[int]] = (0, set())

    def read(self, block: int) -> int:
        return self.cache.get(block, self.disk.get(block, 0))

    def sync(self) -> None:
        self.disk.update(self.cache)
        self.cache.clear()

    def marked(self) -> set[int]:
        return set().union(*self.marks.values()) if self.marks else set()


@dataclass(slots=True)
class Write:
    """``acks`` are of ``generation``; a new generation begins without any (R2)."""

    block: int
    value: int
    generation: int = 0
    acks: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Sent:
    """A write on its way to the server ``export``, or in it: it lands while that lives."""

    incarnation: str
    device_id: str
    export: str
    generation: int
    block: int
    value: int


@dataclass(slots=True)
class Writer:
    """One incarnation's data path. ``marked``: (device, block) known to be durable (R3)."""

    incarnation: str
    writes: list[Write] = field(default_factory=list)
    marked: set[tuple[str, int]] = field(default_factory=set)
    pulses: dict[str, float] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    generation: int = 0
    unflushed: bool = False


class Storage:
    """All stores, by device, and the servers that lead to them."""

    def __init__(self, agents: Iterable[simulated_agents.SimSds], volume: str) -> None:
        self.agents = list(agents)
        self.volume = volume
        self.stores: dict[str, Store] = {}

    def leg(self, device_id: str) -> simulated_agents.SimLeg | None:
        for agent in self.agents:
            if (self.volume, device_id) in agent.legs:
                return agent.legs[(self.volume, device_id)]
        return None

    def store(self, device_id: str) -> Store:
        return self.stores.setdefault(device_id, Store())

    def alive(self, leg: model.Leg) -> bool:
        found = self.leg(leg.device_id)
        return found is not None and found.server == leg.data_export

    def follow(self) -> None:
        """What a seal or an order does to the files: intent files made and deleted, data synced."""
        for agent in self.agents:
            for (volume, device_id), leg in agent.legs.items():
                if volume != self.volume:
                    continue
                store = self.store(device_id)
                store.marks = {i: store.marks.get(i, set()) for i in leg.intents}
                if leg.synced or leg.flushed:
                    store.sync()

    def lose_cache(self, agent: simulated_agents.SimSds) -> None:
        for device_id in agent.paths:
            self.store(device_id).cache.clear()

    def copy(self, target: str, busy: set[int]) -> None:
        """A step of the ordered copy, under the lock: not where writes are in flight (R8)."""
        leg = self.leg(target)
        if leg is None or leg.copy_order is None or not leg.server:
            return
        (column,) = leg.copy_order.columns
        if not self.alive(column.source):
            return
        own, source = self.store(target), self.store(column.source.device_id)
        if own.copied[0] != leg.copy_order.generation:
            own.copied = (leg.copy_order.generation, set())
            own.joined |= own.marked() | source.marked()
        wanted = set(BLOCKS) if column.full else own.joined
        for block in sorted(wanted - own.copied[1] - busy)[:1]:
            own.cache[block] = source.read(block)
            own.copied[1].add(block)
        if wanted <= own.copied[1]:
            own.sync()
            own.joined.clear()
            agent = next(a for a in self.agents if target in a.paths)
            agent.finish_copies()

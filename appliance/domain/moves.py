"""Which replicas move where: away from devices that shall hold none, or to even a pool out. Pure.

Each volume is drawn to the same shares and scores as ``placement`` gives a new one, so that a
device more or less moves about its own share. Used by the MDM's relocation service.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from appliance.common import units
from appliance.domain import model, placement


@dataclass(frozen=True, slots=True)
class Device:
    """A device that may take replicas. ``room`` is how many more bytes may go there."""

    device_id: str
    fault_set: str
    weight: int
    room: int

    @property
    def target(self) -> placement.Target:
        return placement.Target(self.device_id, self.fault_set, self.weight)


@dataclass(frozen=True, slots=True)
class Column:
    """``holders`` are the devices that shall have it once the moves that go on are over;
    ``movable`` those of them that it may leave now. ``barred``: devices it must not come to yet,
    because it is on its way out there. ``size_bytes``: what a copy takes."""

    index: int
    holders: tuple[str, ...]
    movable: frozenset[str]
    size_bytes: int
    barred: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Volume:
    """``columns``: all of the volume."""

    volume_id: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Move:
    volume_id: str
    column: int
    from_device: str
    to_device: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Stuck:
    """A replica that should move and has nowhere to go; ``why`` is for a person."""

    volume_id: str
    column: int
    from_device: str
    size_bytes: int
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    moves: tuple[Move, ...] = ()
    stuck: tuple[Stuck, ...] = ()


def vacate(
    volumes: Sequence[Volume],
    devices: Sequence[Device],
    leaving: Collection[str],
    fault_sets: Mapping[str, str],
) -> Plan:
    """A new device for each movable replica on ``leaving``; one move a column at most.

    ``devices`` has none of ``leaving``; ``fault_sets`` is of every device that holds anything.
    """
    pool = _Pool(devices, fault_sets)
    moves: list[Move] = []
    stuck: list[Stuck] = []
    for volume in sorted(volumes, key=lambda one: one.volume_id):
        wanted = {
            column.index: _leaver(column, leaving)
            for column in volume.columns
            if not column.movable.isdisjoint(leaving)
        }
        held = _held(volume, set(wanted.items()))
        shares = pool.shares(volume)
        todo = [column for column in volume.columns if column.index in wanted]
        # Where the choice is small it comes first.
        todo.sort(key=lambda c: (len(list(pool.open_to(c, wanted[c.index]))), c.index))
        for column in todo:
            source = wanted[column.index]
            found = pool.best(volume, column, source, held, shares)
            if found is None:
                why = pool.why_none(column, source)
                stuck.append(Stuck(volume.volume_id, column.index, source, column.size_bytes, why))
                continue
            held[found] += 1
            moves.append(pool.take(volume, column, source, found))
    return Plan(tuple(moves), tuple(stuck))


def even_out(
    volumes: Sequence[Volume], devices: Sequence[Device], fault_sets: Mapping[str, str]
) -> tuple[Move, ...]:
    """Moves after which no device of ``devices`` holds more of a volume than its share, as far
    as fault sets and room allow; no more of them than devices are above their shares."""
    pool = _Pool(devices, fault_sets)
    moves: list[Move] = []
    for volume in sorted(volumes, key=lambda one: one.volume_id):
        shares = pool.shares(volume)
        held = _held(volume, set())
        moved: set[int] = set()
        for device_id in sorted(shares):
            moves += _relieve(pool, volume, device_id, held, shares, moved)
    return tuple(moves)


def _relieve(
    pool: "_Pool",
    volume: Volume,
    device_id: str,
    held: Counter[str],
    shares: Mapping[str, int],
    moved: set[int],
) -> Iterator[Move]:
    """Moves from a device that holds more than its share, what is least drawn to it first."""
    device = pool.devices[device_id]
    own = [c for c in volume.columns if device_id in c.movable and c.index not in moved]
    own.sort(key=lambda c: placement.score(volume.volume_id, c.index, device.target))
    for column in own:
        if held[device_id] <= shares[device_id]:
            return
        found = pool.best(volume, column, device_id, held, shares)
        if found is not None and held[found] < shares[found]:
            held[device_id] -= 1
            held[found] += 1
            moved.add(column.index)
            yield pool.take(volume, column, device_id, found)


def _leaver(column: Column, leaving: Collection[str]) -> str:
    return min(device for device in column.movable if device in leaving)


def _held(volume: Volume, without: set[tuple[int, str]]) -> Counter[str]:
    """How many columns of the volume each device has."""
    return Counter(
        device
        for column in volume.columns
        for device in column.holders
        if (column.index, device) not in without
    )


@dataclass(slots=True)
class _Pool:
    """The devices, with the room that the plan so far leaves."""

    given: Sequence[Device]
    fault_sets: Mapping[str, str]
    devices: dict[str, Device] = field(init=False)
    rooms: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.devices = {d.device_id: d for d in sorted(self.given, key=lambda d: d.device_id)}
        self.rooms = {device.device_id: device.room for device in self.given}

    def shares(self, volume: Volume) -> dict[str, int]:
        targets = [device.target for device in self.devices.values()]
        return placement.shares(volume.volume_id, len(volume.columns), targets)

    def open_to(self, column: Column, source: str) -> Iterator[Device]:
        """Where the column may go from ``source``."""
        taken = {self.fault_sets[d] for d in column.holders if d != source}
        for device in self.devices.values():
            if device.device_id in column.holders or device.device_id in column.barred:
                continue
            if device.fault_set in taken or self.rooms[device.device_id] < column.size_bytes:
                continue
            yield device

    def best(
        self,
        volume: Volume,
        column: Column,
        source: str,
        held: Mapping[str, int],
        shares: Mapping[str, int],
    ) -> str | None:
        """The device that is least above its share with the column; of those the one that the
        column is most drawn to."""

        def rank(device: Device) -> tuple[int, float]:
            over = held.get(device.device_id, 0) + 1 - shares[device.device_id]
            drawn = placement.score(volume.volume_id, column.index, device.target)
            return max(0, over), -drawn

        found = min(self.open_to(column, source), key=rank, default=None)
        return None if found is None else found.device_id

    def take(self, volume: Volume, column: Column, source: str, device_id: str) -> Move:
        self.rooms[device_id] -= column.size_bytes
        return Move(volume.volume_id, column.index, source, device_id, column.size_bytes)

    def why_none(self, column: Column, source: str) -> str:
        taken = {self.fault_sets[d] for d in column.holders if d != source}
        apart = [
            device
            for device in self.devices.values()
            if device.fault_set not in taken and device.device_id not in column.holders
        ]
        if not apart:
            sets = {device.fault_set for device in self.devices.values()}
            return (
                f"the other copy's fault set apart, no usable device is left: there are "
                f"{len(self.devices)} in {len(sets)} fault sets, and {model.REPLICAS} copies need "
                f"{model.REPLICAS}"
            )
        roomiest = max(self.rooms[device.device_id] for device in apart)
        return (
            f"{units.format_size(column.size_bytes)} are needed on one of {len(apart)} devices, of "
            f"which the emptiest has room for {units.format_size(max(0, roomiest))}"
        )

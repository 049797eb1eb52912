"""The words of Basalt as values: volumes, columns, replicas and the map a client works by."""

from dataclasses import dataclass
from enum import StrEnum

from appliance.common import units

#: Bytes of one stripe unit. Unit ``u`` of a volume belongs to column ``u % ncols``.
UNIT_BYTES = units.MIB

#: Bytes of a volume's address space that one intent mark stands for.
REGION_BYTES = 16 * units.MIB

#: A volume has at most this many columns.
MAX_COLUMNS = 64

#: Replicas of each column.
REPLICAS = 2

#: R6's T: a pulse older than this allows no read. Seconds of the client's CLOCK_BOOTTIME.
PULSE_S = 2.0

#: What the MDM adds to T before a turn with an unsealed replica becomes effective, for the
#: difference in rate of two hosts' clocks (500 ppm over T would be a millisecond).
PULSE_MARGIN_S = 0.2


class ReplicaState(StrEnum):
    """Only the MDM changes it (R1)."""

    IN_SYNC = "in_sync"  # readable, written
    SYNCING = "syncing"  # written, not readable
    STALE = "stale"  # neither


@dataclass(frozen=True, slots=True)
class Replica:
    device_id: str
    state: ReplicaState

    @property
    def readable(self) -> bool:
        return self.state is ReplicaState.IN_SYNC

    @property
    def written(self) -> bool:
        return self.state is not ReplicaState.STALE


@dataclass(frozen=True, slots=True)
class Leg:
    """How to reach one device's part of one volume, in one generation.

    ``hosts`` are the SDS's data addresses in order of preference; ``socket`` is the path of a
    Unix socket of the same server, for a client on the SDS's own host. The export names are
    128-bit secrets: to know them is the right to write.
    """

    device_id: str
    sds_id: str
    sds_name: str
    hosts: tuple[str, ...]
    port: int
    socket: str
    data_export: str
    intent_export: str


@dataclass(frozen=True, slots=True)
class VolumeMap:
    """What a client works by. Maps are versioned and an older one is refused (R1).

    ``columns[c]`` are the replicas of column ``c``; ``legs`` has one entry for every device with
    a written replica. ``shared``: other clients map the volume too. ``lost_generation`` is the
    newest generation that began with acknowledged but unflushed writes possibly gone (R7), 0 if
    none did. ``wait_limit_s`` is how long I/O to a column without any readable replica waits; 0
    means for ever.
    """

    volume_id: str
    name: str
    size: int
    thin: bool
    generation: int
    version: int
    columns: tuple[tuple[Replica, ...], ...]
    legs: tuple[Leg, ...]
    unit: int = UNIT_BYTES
    shared: bool = False
    lost_generation: int = 0
    wait_limit_s: float = 60.0

    def leg(self, device_id: str) -> Leg:
        for leg in self.legs:
            if leg.device_id == device_id:
                return leg
        raise KeyError(device_id)

    @property
    def all_in_sync(self) -> bool:
        return all(replica.readable for column in self.columns for replica in column)

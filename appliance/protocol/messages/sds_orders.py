"""What the MDM wants of an SDS: devices, legs, copies, scrubs."""

from dataclasses import dataclass, field

from appliance.domain import model
from appliance.protocol.messages.locks import LockClient
from appliance.protocol.messages.sds_reports import ScrubCounts


@dataclass(frozen=True, slots=True)
class Place:
    """Where a device belongs. It keeps that, for the day the MDM's database is lost.

    ``policy`` is the pool's, as JSON. An empty ``fault_set``: its SDS is one by itself.
    """

    path: str
    sds: str
    domain_id: str
    domain: str
    pool_id: str
    pool: str
    media: str
    fault_set_id: str = ""
    fault_set: str = ""
    spare_percent: int = 0
    warn_percent: int = 80
    critical_percent: int = 90
    policy: str = "{}"
    limit_bytes: int = 0


@dataclass(frozen=True, slots=True)
class DeviceOrder:
    """A directory to serve from, or (``wanted`` false) to give back."""

    device_id: str
    path: str
    wanted: bool = True
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class ColumnCopy:
    """Column to pull, and from where. ``full``: everything; else the marked regions only."""

    column: int
    full: bool
    source: model.Leg
    source_intents: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CopyOrder:
    """Copy in ``generation`` only. ``bandwidth`` is in bytes a second, 0 for no limit."""

    generation: int
    columns: tuple[ColumnCopy, ...]
    clients: tuple[LockClient, ...] = ()
    bandwidth: int = 0


@dataclass(frozen=True, slots=True)
class ScrubLeg:
    """A device whose bytes are compared, with its file ``sums`` and all its intent files."""

    leg: model.Leg
    sums_export: str
    intents: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScrubOrder:
    """Compare the whole volume, from ``start`` on, in ``generation`` only; see sds.scrubber.

    ``columns[c]``: the two devices of column ``c``. ``clients``: those that may write.
    ``counts``: of the pass so far. ``bandwidth``: bytes of the volume a second, 0 for no limit.
    """

    generation: int
    scrub_id: str
    legs: tuple[ScrubLeg, ...]
    columns: tuple[tuple[str, ...], ...]
    clients: tuple[LockClient, ...] = ()
    start: int = 0
    counts: ScrubCounts = field(default_factory=ScrubCounts)
    bandwidth: int = 0
    repair: bool = False


@dataclass(frozen=True, slots=True)
class OwnColumn:
    index: int
    state: model.ReplicaState


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose a device is, in words that still help when nobody can be asked."""

    device_id: str
    sds_id: str
    sds: str


@dataclass(frozen=True, slots=True)
class Chart:
    """The whole volume as the MDM saw it when it gave an order; each device keeps the newest.

    ``columns`` are all replicas with their states, in the version ``map_version`` of the map.
    ``settled``: they were decided for the order's generation; if not, its turn was going on, and
    only who was in sync here can be in sync after it.
    """

    map_version: int = 0
    settled: bool = False
    pool_id: str = ""
    shareable: bool = False
    wait_limit_s: float = 60.0
    columns: tuple[tuple[model.Replica, ...], ...] = ()
    holders: tuple[Holder, ...] = ()


@dataclass(frozen=True, slots=True)
class LegOrder:
    """What one (volume, device) shall be. A generation above the durable one means: seal (R4).

    ``incarnations`` are the intent files to have; others are deleted. ``retire`` are those to be
    made deletable by a fdatasync. ``flush``: fdatasync before reporting the seal (R7).
    ``delete``: nothing of the volume shall remain.
    """

    volume_id: str
    device_id: str
    name: str
    size: int
    unit: int
    ncols: int
    thin: bool
    columns: tuple[OwnColumn, ...]
    generation: int
    serve: bool
    incarnations: tuple[str, ...] = ()
    retire: tuple[str, ...] = ()
    flush: bool = False
    copy: CopyOrder | None = None
    scrub: ScrubOrder | None = None
    delete: bool = False
    request_id: str = ""
    chart: Chart = Chart()


@dataclass(frozen=True, slots=True)
class SdsOrders:
    """``legs`` changed since the heartbeat's revision. ``report_all``: send a full one."""

    cluster_id: str
    term: int
    revision: int
    devices: tuple[DeviceOrder, ...] = ()
    legs: tuple[LegOrder, ...] = ()
    report_all: bool = False

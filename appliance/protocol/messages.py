"""What agents and the MDM tell each other: reports go up in heartbeats, orders come back.

An agent polls once a second, and at once when it has news or was poked. Reports are of the
state *observed*; orders are of the state *wanted*, so that losing or repeating one is harmless.
Every set of orders carries the MDM's term; a lower one is refused (R10). The ``request_id`` of an
order is that of the request it goes back to, for the agent's log; it orders nothing.
"""

from dataclasses import dataclass, field

from appliance.domain import model

# --- registration -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Registration:
    """An agent's first words, sent with the join token. ``name`` is unique among its role.

    ``id`` and ``cluster_id`` are what it was given before, if it was: a recovered database knows
    no secrets, and takes it back by them.
    """

    name: str
    hosts: tuple[str, ...]
    control_port: int
    domain: str = "default"
    fault_set: str = ""
    version: str = ""
    id: str = ""
    cluster_id: str = ""


@dataclass(frozen=True, slots=True)
class Registered:
    """The answer: who the agent is from now on, and the secret it keeps (0600)."""

    id: str
    secret: str
    cluster_id: str


# --- SDS ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """``state``: ok, failed, missing or refused, with the reason for a person. ``sync_s``: how
    long a small durable write took; a statistic, no news."""

    device_id: str
    state: str
    reason: str = ""
    capacity_bytes: int = 0
    free_bytes: int = 0
    cache_id: str = ""
    path: str = ""
    sync_s: float = 0.0


@dataclass(frozen=True, slots=True)
class CopyReport:
    """Progress of the copy ordered for ``generation``; ``done`` only after fdatasync (R8).

    ``waiting`` is why it does not go on; ``waiting_for`` the incarnation that gives no lock, if
    that is why.
    """

    generation: int
    copied_bytes: int
    total_bytes: int
    done: bool = False
    waiting: str = ""
    error: str = ""
    waiting_for: str = ""


@dataclass(frozen=True, slots=True)
class ScrubCounts:
    """Of one pass over a volume. ``skipped``: regions that were dirty, left to the next pass."""

    compared_bytes: int = 0
    skipped: int = 0
    mismatches: int = 0
    repaired: int = 0


@dataclass(frozen=True, slots=True)
class ScrubFinding:
    """Two copies differed at ``[offset, offset + length)``. ``number`` counts from 1 in a pass.

    ``device_id``: whose bytes rotted, empty if nothing proves that. ``why``: in words.
    """

    number: int
    column: int
    offset: int
    length: int
    device_id: str = ""
    repaired: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class ScrubReport:
    """Progress of the pass ``scrub_id`` in ``generation``: everything before ``position`` was
    looked at. ``failed``: devices that could not read their own bytes."""

    generation: int
    scrub_id: str
    position: int
    counts: ScrubCounts = ScrubCounts()
    findings: tuple[ScrubFinding, ...] = ()
    done: bool = False
    waiting: str = ""
    error: str = ""
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LegReport:
    """State of one (volume, device).

    ``generation`` is the one durable in volume.json, and sealed: every process of an older one
    is dead. ``serving`` is true while the server of that generation runs. ``intents`` maps
    incarnation id to export name for every intent file there is. ``flushed``: data was
    fdatasynced after the seal. ``synced``: incarnations since whose order to retire data was
    fdatasynced. ``created``: the generation whose seal made the files, all zeroes: a leg that
    had data and is created anew has lost it.
    """

    volume_id: str
    device_id: str
    generation: int
    cache_id: str
    serving: bool = False
    port: int = 0
    socket: str = ""
    data_export: str = ""
    sums_export: str = ""
    intents: dict[str, str] = field(default_factory=dict)
    size: int = 0
    allocated: bool = False
    used_bytes: int = 0
    flushed: bool = False
    synced: tuple[str, ...] = ()
    copy: CopyReport | None = None
    scrub: ScrubReport | None = None
    deleted: bool = False
    error: str = ""
    created: int = 0


@dataclass(frozen=True, slots=True)
class SdsHeartbeat:
    """``session`` is new at each start of the agent, ``sequence`` grows within it: a report that
    was held up on its way is not taken for news. ``clock`` is the agent's wall clock, looked at
    for its skew only. ``revision``: orders up to there are known.

    ``full`` says that ``legs`` has every leg there is; otherwise only those that changed.
    """

    session: str
    boot_id: str
    revision: int
    full: bool
    devices: tuple[DeviceReport, ...] = ()
    legs: tuple[LegReport, ...] = ()
    version: str = ""
    sequence: int = 0
    clock: float = 0.0


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
class LockClient:
    """A client whose range lock each copy step needs (R8)."""

    incarnation: str
    hosts: tuple[str, ...]
    port: int
    token: str


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
    counts: ScrubCounts = ScrubCounts()
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


# --- SDC ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IoStats:
    """Counters since the incarnation began.

    ``latency`` (counts in the buckets of ``domain.latency``) and ``seconds`` (their sums) are by
    read, write, flush and trim. ``degraded_s``: time with one good copy of some column;
    ``turns``: new generations taken into use.
    """

    reads: int = 0
    writes: int = 0
    flushes: int = 0
    trims: int = 0
    read_bytes: int = 0
    write_bytes: int = 0
    errors: int = 0
    in_flight: int = 0
    waiting_s: float = 0.0
    latency: dict[str, tuple[int, ...]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    degraded_s: float = 0.0
    turns: int = 0


@dataclass(frozen=True, slots=True)
class PluginStatus:
    """What a plugin tells its agent, whenever it changes.

    ``generation``: the one in use; ``left``: the newest one it issues nothing under any more.
    ``suspects``, ``failed`` and ``full`` are devices because of which it asks for a turn of
    ``generation``: they did not answer, they answered EIO (R5), they answered ENOSPC.
    ``ended``: why the mapping is over, if it is; ``clean``: it ended cleanly (R7). ``waiting``:
    what I/O waits for, in words, if any does.
    """

    incarnation: str
    generation: int = 0
    version: int = 0
    left: int = 0
    suspects: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    full: tuple[str, ...] = ()
    unflushed: bool = False
    ended: str = ""
    clean: bool = False
    waiting: str = ""
    stats: IoStats = IoStats()


@dataclass(frozen=True, slots=True)
class MappingReport:
    """``state``: starting, attached, detached (device and plugin gone) or failed.

    ``reached``: of the probes ordered, the devices that answered, each with its probe's
    generation. ``device_size`` is what the block device shows, in bytes; 0 if there is none.
    """

    mapping_id: str
    state: str
    incarnation: str = ""
    backend: str = ""
    backend_reason: str = ""
    device: str = ""
    device_size: int = 0
    link: str = ""
    uri: str = ""
    error: str = ""
    plugin: PluginStatus | None = None
    reached: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SdcHeartbeat:
    """``session``, ``sequence`` and ``clock`` as in an SDS's heartbeat."""

    session: str
    boot_id: str
    full: bool
    mappings: tuple[MappingReport, ...] = ()
    version: str = ""
    sequence: int = 0
    clock: float = 0.0


@dataclass(frozen=True, slots=True)
class Probe:
    """A lost replica, which comes back only when its clients reach it: where to try.

    ``data``: a data server of ``generation`` listens there; else it is the SDS's control port.
    """

    device_id: str
    generation: int
    hosts: tuple[str, ...]
    port: int
    socket: str = ""
    data: bool = False


@dataclass(frozen=True, slots=True)
class MappingOrder:
    """``wanted`` false means detach (with ``force``: fail I/O in flight).

    ``open_generation`` is that of a turn going on, 0 if none: the client leaves every older
    one. ``map`` is there once it is effective and names the ``incarnation`` it is for.
    ``cut_off``: an incarnation that was shut out, all I/O of which is to fail (R7).
    """

    mapping_id: str
    volume_id: str
    volume_name: str
    size: int
    read_only: bool
    backend: str
    wanted: bool = True
    force: bool = False
    open_generation: int = 0
    incarnation: str = ""
    lock_token: str = ""
    map: model.VolumeMap | None = None
    request_id: str = ""
    probes: tuple[Probe, ...] = ()
    cut_off: str = ""


@dataclass(frozen=True, slots=True)
class SdcOrders:
    """Always all mappings of the client."""

    cluster_id: str
    term: int
    mappings: tuple[MappingOrder, ...] = ()


# --- copier to client -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LockRequest:
    """Hold ``[offset, offset + length)`` for ``limit_s`` at most, under ``generation``."""

    incarnation: str
    token: str
    generation: int
    offset: int
    length: int
    limit_s: float


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

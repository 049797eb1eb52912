"""What the MDM answers: the JSON objects that services make and the OpenAPI document shows.

Plain dictionaries at run time. Sizes are bytes, times Unix seconds, ``…_s`` durations.
"""

from typing import Any, NotRequired

from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12


class Domain(TypedDict):
    id: str
    name: str
    rebuild_delay_s: float
    created_at: float


class FaultSet(TypedDict):
    id: str
    name: str
    domain: str
    domain_id: str


class ScrubPolicy(TypedDict):
    enabled: bool
    rate: int
    repair: bool
    interval_days: int


class Pool(TypedDict):
    id: str
    name: str
    domain: str
    domain_id: str
    media: str
    spare_percent: int
    warn_percent: int
    critical_percent: int
    rebuild_policy: str
    rebuild_copies: int
    rebuild_bandwidth: int
    rebalance: bool
    scrub: ScrubPolicy
    capacity_bytes: int
    used_bytes: int
    provisioned_bytes: int
    reserved_bytes: int
    free_bytes: int
    devices: int
    volumes: int
    created_at: float


class Device(TypedDict):
    id: str
    sds: str
    sds_id: str
    pool: str
    pool_id: str
    path: str
    media: str
    state: str
    reason: str
    reach: str
    draining: bool
    limit_bytes: int
    capacity_bytes: int
    free_bytes: int
    created_at: float


class Sds(TypedDict):
    id: str
    name: str
    domain: str
    domain_id: str
    fault_set: str | None
    fault_set_id: str | None
    state: str
    health: str
    reason: str
    hosts: list[str]
    control_port: int
    last_seen_s: float | None
    clock_skew_s: float | None
    devices: list[Device]
    version: str
    created_at: float


class Sdc(TypedDict):
    id: str
    name: str
    approved: bool
    health: str
    reason: str
    hosts: list[str]
    control_port: int
    last_seen_s: float | None
    clock_skew_s: float | None
    volumes: list[str]
    version: str
    created_at: float


class Replica(TypedDict):
    """``error``: why its SDS, or the MDM for it, refuses to serve it; empty if nothing is wrong."""

    column: int
    slot: int
    device_id: str
    device_path: str
    sds: str
    state: str
    error: str


class Mapping(TypedDict):
    """``device_size_bytes``: what the block device shows; 0 if there is none."""

    id: str
    volume: str
    volume_id: str
    sdc: str
    sdc_id: str
    read_only: bool
    backend: str
    used_backend: str
    backend_reason: str
    state: str
    device: str
    device_size_bytes: int
    link: str
    uri: str
    error: str
    created_at: float


class Scrub(TypedDict):
    """``state``: idle, queued, running or paused. What is counted is of the pass that goes on, or
    of the last one; ``total_…`` of all. ``finished_at``: end of the last whole pass."""

    volume: str
    volume_id: str
    state: str
    position_bytes: int
    percent: float | None
    compared_bytes: int
    skipped_regions: int
    mismatches: int
    repaired: int
    total_mismatches: int
    total_repaired: int
    detail: str
    started_at: float
    finished_at: float | None


class VolumeSummary(TypedDict):
    id: str
    name: str
    size_bytes: int
    thin: bool
    shareable: bool
    pool: str
    pool_id: str
    state: str
    health: str
    reason: str
    columns: int
    generation: int
    map_version: int
    turn_open: bool
    used_bytes: int
    mappings: list[Mapping]
    created_at: float
    wait_limit_s: float


class Volume(VolumeSummary):
    """``scrub`` is null if the volume was never scrubbed."""

    replicas: list[Replica]
    scrub: Scrub | None


class VolumeListed(VolumeSummary):
    """``replicas`` is there only if it was asked for."""

    replicas: NotRequired[list[Replica]]


class Recovery(TypedDict):
    """What a blocked volume waits for (``bring_back``), and what it could go on with (``keep``),
    each an ``sds:path``. ``possible``: an order to go on would help."""

    volume: str
    volume_id: str
    blocked: bool
    possible: bool
    columns: list[int]
    keep: list[str]
    bring_back: list[str]
    explanation: str


class IoStats(TypedDict):
    """``latency`` are counts per bucket, see domain.latency; ``seconds`` their sums."""

    reads: int
    writes: int
    flushes: int
    trims: int
    read_bytes: int
    write_bytes: int
    errors: int
    in_flight: int
    waiting_s: float
    latency: dict[str, list[int]]
    seconds: dict[str, float]
    degraded_s: float
    turns: int


class Statistics(TypedDict):
    """Counters of one mapping since its ``incarnation`` began; ``waiting``: what I/O waits for."""

    mapping_id: str
    volume_id: str
    volume: str
    sdc: str
    incarnation: str
    at: float
    waiting: str
    stats: IoStats


class StatisticsList(TypedDict):
    """``device_sync_s``: seconds a small durable write took, by device id."""

    items: list[Statistics]
    next: str | None
    device_sync_s: dict[str, float]


class Job(TypedDict):
    """``rate_bytes_s``: lately; ``left_s``: what is left at that rate, null if nobody can say."""

    id: str
    kind: str
    subject_kind: str
    subject_id: str
    subject: str
    state: str
    done_bytes: int
    total_bytes: int
    percent: float | None
    rate_bytes_s: int
    left_s: float | None
    detail: str
    request_id: str
    started_at: float
    updated_at: float
    finished_at: float | None


class Event(TypedDict):
    seq: int
    at: float
    who: str
    request_id: str
    kind: str
    subject_kind: str
    subject_id: str
    subject: str
    detail: dict[str, Any]


class Token(TypedDict):
    id: str
    name: str
    role: str
    created_at: float


class NewToken(Token):
    """``token`` is shown once; only its hash is kept."""

    token: str


class Backup(TypedDict):
    path: str
    size_bytes: int
    created_at: float


class Accepted(TypedDict):
    """Work that goes on: look at /jobs/{job}."""

    job: str


def page_of(item: type[Any]) -> Any:
    """The shape of a list of ``item``: ``next`` is the cursor to go on with, null at the end."""
    return TypedDict(f"{item.__name__}List", {"items": list[item], "next": str | None})  # type: ignore[valid-type, operator]

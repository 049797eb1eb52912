"""What the MDM answers about the cluster as a whole: status, health, figures, topology.

As in ``shapes``.
"""

from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from appliance.mdm import shapes


class Cluster(TypedDict):
    id: str
    name: str
    term: int
    revision: int
    version: str
    created_at: float
    counts: dict[str, int]


class Problem(TypedDict):
    severity: str
    component: str
    message: str
    what_to_do: str


class Capacity(TypedDict):
    capacity_bytes: int
    used_bytes: int
    provisioned_bytes: int
    reserved_bytes: int
    free_bytes: int


class RoleCount(TypedDict):
    total: int
    up: int
    down: int
    unknown: int


class Status(TypedDict):
    health: str
    summary: str
    reasons: list[str]
    cluster: str
    version: str
    roles: dict[str, RoleCount]
    devices: dict[str, int]
    devices_reason: str
    capacity: Capacity
    volumes: dict[str, int]
    jobs: list[shapes.Job]
    problems: list[Problem]


class Health(TypedDict):
    live: bool
    ready: bool
    status: str
    reasons: list[str]


class Component(TypedDict):
    """``breaker``: closed, open or half-open, of calls from the MDM to its control port."""

    address: str
    component_id: str
    component_type: str
    name: str
    control_port: int
    data_port: int
    state: str
    reason: str
    breaker: str
    check_count: int
    heal_attempts: int
    calls: int
    failed_calls: int
    refused_calls: int
    p50_s: float
    p95_s: float
    p99_s: float


class GivenUp(TypedDict):
    """A part whose healing reached its limit, and what it ran into last."""

    part: str
    attempts: int
    why: str


class HealthMetrics(TypedDict):
    """``check_count``, ``heal_attempts``, ``given_up`` and ``failed_calls`` are of the agents'
    control ports."""

    health_summary: str
    overall_status: str
    check_count: int
    heal_attempts: int
    given_up: list[GivenUp]
    failed_calls: int
    uptime_s: float
    roles: dict[str, RoleCount]
    devices: dict[str, int]
    volumes: dict[str, int]
    jobs_running: int
    database_bytes: int
    disk_free_bytes: int
    disk_total_bytes: int
    newest_backup_at: float | None
    created_at: float
    events: int


class ClusterMetrics(TypedDict):
    at: float
    cluster_id: str
    capacity: Capacity
    roles: dict[str, RoleCount]
    devices: dict[str, int]
    volumes: dict[str, int]
    mappings: int
    jobs_running: int
    events: int
    database_bytes: int


class TopologySds(TypedDict):
    id: str
    name: str
    health: str
    reason: str
    state: str
    hosts: list[str]
    control_port: int
    version: str
    last_seen_s: float | None
    clock_skew_s: float | None
    devices: list[shapes.Device]


class TopologyFaultSet(TypedDict):
    id: str | None
    name: str | None
    sds: list[TopologySds]


class TopologyDomain(TypedDict):
    id: str
    name: str
    fault_sets: list[TopologyFaultSet]
    pools: list[shapes.Pool]


class Topology(TypedDict):
    cluster_id: str
    domains: list[TopologyDomain]
    sdcs: list[shapes.Sdc]


class Root(TypedDict):
    role: str
    version: str
    cluster_id: str
    links: dict[str, str]

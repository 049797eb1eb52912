"""What an SDC agent, and a plugin through it, tells the MDM of its mappings."""

from dataclasses import dataclass, field


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
    ``suspects``, ``unreached``, ``failed`` and ``full`` are devices because of which it asks for a
    turn of ``generation``: their servers did not answer, their hosts did not either, they answered
    EIO (R5), they answered ENOSPC.
    ``ended``: why the mapping is over, if it is; ``clean``: it ended cleanly (R7). ``waiting``:
    what I/O waits for, in words, if any does.
    """

    incarnation: str
    generation: int = 0
    version: int = 0
    left: int = 0
    suspects: tuple[str, ...] = ()
    unreached: tuple[str, ...] = ()
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

"""What an SDS agent tells the MDM: its devices, its legs, their copies and scrubs."""

from dataclasses import dataclass, field


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

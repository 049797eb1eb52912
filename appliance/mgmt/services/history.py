"""What clients counted, as rates and percentiles over time: of every volume and of the cluster.

In memory: a quarter of an hour of seconds for the cluster, and coarser for each volume. Written
by ``poller``, read by charts. Durations come from the clients' histograms (domain.latency).
"""

import collections
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from appliance.domain import latency

#: Points kept: of the cluster, and of each volume, which gets one every ``_VOLUME_EVERY_S``.
_CLUSTER_POINTS = 900
_VOLUME_POINTS = 180
_VOLUME_EVERY_S = 5.0

CLUSTER = ""


@dataclass(frozen=True, slots=True)
class Point:
    """Rates are per second since the point before; percentiles in seconds, None without I/O."""

    at: float
    read_iops: float
    write_iops: float
    read_bps: float
    write_bps: float
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    in_flight: int


@dataclass(slots=True)
class _Sum:
    """Counters of one or several incarnations, added up as differences."""

    reads: int = 0
    writes: int = 0
    read_bytes: int = 0
    write_bytes: int = 0
    in_flight: int = 0
    histogram: tuple[int, ...] = ()

    def add(self, other: "_Sum") -> None:
        self.reads += other.reads
        self.writes += other.writes
        self.read_bytes += other.read_bytes
        self.write_bytes += other.write_bytes
        self.in_flight += other.in_flight
        if other.histogram:
            self.histogram = tuple(latency.total([self.histogram, other.histogram]))


class History:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, tuple[float, dict[str, Any]]] = {}
        self._open: dict[str, tuple[float, _Sum]] = {}
        self._points: dict[str, collections.deque[Point]] = {}

    def taken(self, at: float, statistics: Iterable[dict[str, Any]], known: set[str]) -> None:
        """New counters at wall time ``at``; volumes not in ``known`` are forgotten."""
        with self._lock:
            cluster = _Sum()
            seen = {}
            sums: dict[str, _Sum] = {}
            for item in statistics:
                key = item["incarnation"]
                seen[key] = (at, item["stats"])
                gained = self._gained(key, item["stats"])
                sums.setdefault(item["volume_id"], _Sum()).add(gained)
                cluster.add(gained)
            self._last = seen
            self._note(CLUSTER, at, cluster, 0.0, _CLUSTER_POINTS)
            for volume_id, gained in sums.items():
                self._note(volume_id, at, gained, _VOLUME_EVERY_S, _VOLUME_POINTS)
            for volume_id in [key for key in self._points if key and key not in known]:
                del self._points[volume_id]
                self._open.pop(volume_id, None)

    def points(self, volume_id: str = CLUSTER) -> list[Point]:
        """Oldest first; of the whole cluster if no volume is named."""
        with self._lock:
            return list(self._points.get(volume_id, ()))

    def newest(self, volume_id: str = CLUSTER) -> Point | None:
        with self._lock:
            points = self._points.get(volume_id)
            return points[-1] if points else None

    def _gained(self, key: str, stats: dict[str, Any]) -> _Sum:
        """What was counted since the last time; nothing for one not seen before, whose counters
        may have grown for hours."""
        if key not in self._last:
            return _Sum(in_flight=stats["in_flight"])
        before = self._last[key][1]
        kinds = [
            latency.since(counts, before["latency"].get(kind, []))
            for kind, counts in stats["latency"].items()
            if kind in ("read", "write")
        ]
        return _Sum(
            reads=max(0, stats["reads"] - before["reads"]),
            writes=max(0, stats["writes"] - before["writes"]),
            read_bytes=max(0, stats["read_bytes"] - before["read_bytes"]),
            write_bytes=max(0, stats["write_bytes"] - before["write_bytes"]),
            in_flight=stats["in_flight"],
            histogram=tuple(latency.total(kinds)) if kinds else (),
        )

    def _note(self, key: str, at: float, gained: _Sum, every_s: float, keep: int) -> None:
        began, waiting = self._open.setdefault(key, (at, _Sum()))
        in_flight = gained.in_flight
        waiting.add(gained)
        took_s = at - began
        if took_s <= 0 or took_s < every_s:
            return
        points = self._points.setdefault(key, collections.deque(maxlen=keep))
        points.append(
            Point(
                at=at,
                read_iops=waiting.reads / took_s,
                write_iops=waiting.writes / took_s,
                read_bps=waiting.read_bytes / took_s,
                write_bps=waiting.write_bytes / took_s,
                p50_s=latency.percentile(waiting.histogram, 0.50),
                p95_s=latency.percentile(waiting.histogram, 0.95),
                p99_s=latency.percentile(waiting.histogram, 0.99),
                in_flight=in_flight,
            )
        )
        self._open[key] = (at, _Sum())

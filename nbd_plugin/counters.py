"""What the plugin counts: operations, bytes, durations, errors, turns, and what is in flight."""

import threading
import time

from appliance.domain import latency
from appliance.protocol import messages

_KINDS = ("read", "write", "flush", "trim")


class _Operation:
    """One operation in flight; counted when it ends, as an error if it raised."""

    __slots__ = ("_began", "_counters", "_kind", "_size")

    def __init__(self, counters: "Counters", kind: str, size: int) -> None:
        self._counters = counters
        self._kind = kind
        self._size = size

    def __enter__(self) -> None:
        self._began = time.monotonic()
        self._counters.began()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        took_s = time.monotonic() - self._began
        self._counters.ended(self._kind, self._size, kind is not None, took_s)


class Counters:
    """Thread-safe; every count is exact."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._operations = dict.fromkeys(_KINDS, 0)
        self._bytes = dict.fromkeys(_KINDS, 0)
        self._seconds = dict.fromkeys(_KINDS, 0.0)
        self._latency = {kind: [0] * latency.BUCKETS for kind in _KINDS}
        self._errors = 0
        self._in_flight = 0
        self._turns = 0
        self._generation = 0
        self._degraded_s = 0.0
        self._degraded_since: float | None = None

    def reading(self, size: int) -> _Operation:
        return _Operation(self, "read", size)

    def writing(self, size: int) -> _Operation:
        return _Operation(self, "write", size)

    def flushing(self) -> _Operation:
        return _Operation(self, "flush", 0)

    def trimming(self) -> _Operation:
        return _Operation(self, "trim", 0)

    def began(self) -> None:
        with self._lock:
            self._in_flight += 1

    def ended(self, kind: str, size: int, failed: bool, took_s: float) -> None:
        where = latency.bucket(took_s)
        with self._lock:
            self._in_flight -= 1
            self._operations[kind] += 1
            self._bytes[kind] += size
            self._seconds[kind] += took_s
            self._latency[kind][where] += 1
            self._errors += failed

    def map_in_use(self, generation: int, degraded: bool) -> None:
        """A map is worked by from now on; ``degraded``: some column has one good copy only."""
        now = time.monotonic()
        with self._lock:
            self._turns += self._generation not in (0, generation)
            self._generation = generation
            if self._degraded_since is not None:
                self._degraded_s += now - self._degraded_since
            self._degraded_since = now if degraded else None

    def snapshot(self) -> messages.IoStats:
        with self._lock:
            degraded_s = self._degraded_s
            if self._degraded_since is not None:
                degraded_s += time.monotonic() - self._degraded_since
            seen = any(self._operations.values())
            return messages.IoStats(
                reads=self._operations["read"],
                writes=self._operations["write"],
                flushes=self._operations["flush"],
                trims=self._operations["trim"],
                read_bytes=self._bytes["read"],
                write_bytes=self._bytes["write"],
                errors=self._errors,
                in_flight=self._in_flight,
                latency={k: tuple(self._latency[k]) for k in _KINDS} if seen else {},
                seconds={k: round(self._seconds[k], 6) for k in _KINDS} if seen else {},
                degraded_s=round(degraded_s, 3),
                turns=self._turns,
            )

"""What the plugin counts: operations, bytes, errors, and what is in flight."""

import threading

from appliance.protocol import messages


class _Operation:
    """One operation in flight; counted when it ends, as an error if it raised."""

    __slots__ = ("_counters", "_kind", "_size")

    def __init__(self, counters: "Counters", kind: str, size: int) -> None:
        self._counters = counters
        self._kind = kind
        self._size = size

    def __enter__(self) -> None:
        self._counters.began()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._counters.ended(self._kind, self._size, kind is not None)


class Counters:
    """Thread-safe; every count is exact."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._operations = {"read": 0, "write": 0, "flush": 0, "trim": 0}
        self._bytes = {"read": 0, "write": 0, "flush": 0, "trim": 0}
        self._errors = 0
        self._in_flight = 0

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

    def ended(self, kind: str, size: int, failed: bool) -> None:
        with self._lock:
            self._in_flight -= 1
            self._operations[kind] += 1
            self._bytes[kind] += size
            self._errors += failed

    def snapshot(self) -> messages.IoStats:
        with self._lock:
            return messages.IoStats(
                reads=self._operations["read"],
                writes=self._operations["write"],
                flushes=self._operations["flush"],
                trims=self._operations["trim"],
                read_bytes=self._bytes["read"],
                write_bytes=self._bytes["write"],
                errors=self._errors,
                in_flight=self._in_flight,
            )

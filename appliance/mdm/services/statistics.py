"""What clients count of their mappings, newest word only, in memory. Written by the heartbeat
service, read by ``/api/v1/statistics`` and the metrics. Thread-safe."""

import threading
from dataclasses import replace

from appliance.protocol import messages


class Statistics:
    """``skew_s``: how far each agent's wall clock is ahead of the MDM's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_sdc: dict[str, tuple[float, tuple[messages.MappingReport, ...]]] = {}
        self._skew: dict[str, float] = {}
        self._sync: dict[str, dict[str, float]] = {}

    def heard(self, sdc_id: str, now: float, reports: tuple[messages.MappingReport, ...]) -> None:
        """All mappings of a client, as it told at wall time ``now``."""
        with self._lock:
            self._by_sdc[sdc_id] = (now, reports)

    def clock(self, ident: str, theirs: float, ours: float) -> None:
        """An agent's wall clock said ``theirs`` when the MDM's said ``ours``; 0 is no clock."""
        if theirs:
            with self._lock:
                self._skew[ident] = theirs - ours

    def skew_s(self, ident: str) -> float | None:
        """None if the agent did not tell."""
        with self._lock:
            found = self._skew.get(ident)
        return None if found is None else round(found, 3)

    def devices(
        self, sds_id: str, reports: tuple[messages.DeviceReport, ...]
    ) -> tuple[messages.DeviceReport, ...]:
        """Keep what is statistics in ``reports``, and return them without it."""
        with self._lock:
            self._sync[sds_id] = {one.device_id: one.sync_s for one in reports}
        return tuple(replace(one, sync_s=0.0) for one in reports)

    def sync_s(self) -> dict[str, float]:
        """How long a small durable write took on each device, by id."""
        with self._lock:
            return {key: value for one in self._sync.values() for key, value in one.items()}

    def forget(self, ident: str) -> None:
        """The agent was removed."""
        with self._lock:
            self._by_sdc.pop(ident, None)
            self._skew.pop(ident, None)
            self._sync.pop(ident, None)

    def newest(self) -> dict[str, tuple[float, messages.PluginStatus]]:
        """By mapping id: when it was told, and what."""
        with self._lock:
            told = list(self._by_sdc.values())
        return {
            report.mapping_id: (at, report.plugin)
            for at, reports in told
            for report in reports
            if report.plugin is not None
        }

"""The cluster as the MDM last told it: one immutable snapshot, and how old it is.

Written by ``poller``, read by every page and by the alerts. While the MDM does not answer, the
last snapshot stays, and ``problem`` says so.
"""

import threading
from dataclasses import dataclass, field
from typing import Any

from appliance.common import errors

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """JSON objects of the MDM. ``at`` is MGMT's wall time. ``details`` are volumes that are not
    healthy, with their replicas, by id. ``figures`` is the MDM's /health/metrics,
    ``mismatches`` are events of scrubs that were not seen before. ``paths`` is what this
    release of the MDM can be asked for."""

    at: float
    status: Object
    topology: Object
    volumes: list[Object]
    statistics: list[Object]
    details: dict[str, Object]
    figures: Object
    mismatches: list[Object] = field(default_factory=list)
    sync_s: dict[str, float] = field(default_factory=dict)
    paths: frozenset[str] = frozenset()
    by_id: dict[str, Object] = field(default_factory=dict)

    @property
    def sds(self) -> list[Object]:
        return [
            one | {"domain": domain["name"], "fault_set": fault_set["name"]}
            for domain in self.topology["domains"]
            for fault_set in domain["fault_sets"]
            for one in fault_set["sds"]
        ]

    @property
    def sdcs(self) -> list[Object]:
        found: list[Object] = self.topology["sdcs"]
        return found

    @property
    def pools(self) -> list[Object]:
        return [pool for domain in self.topology["domains"] for pool in domain["pools"]]

    @property
    def devices(self) -> list[Object]:
        return [
            device | {"sync_s": self.sync_s.get(device["id"])}
            for one in self.sds
            for device in one["devices"]
        ]

    @property
    def jobs(self) -> list[Object]:
        found: list[Object] = self.status["jobs"]
        return found


class View:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._current: Snapshot | None = None
        self._problem = "the MDM was not asked yet"
        self._code = ""

    @property
    def current(self) -> Snapshot | None:
        """None before the MDM answered for the first time."""
        with self._lock:
            return self._current

    @property
    def problem(self) -> str:
        """Why the snapshot is not renewed; empty if it is."""
        with self._lock:
            return self._problem

    @property
    def locked_out(self) -> bool:
        """Whether the MDM answered, but does not know MGMT's token."""
        with self._lock:
            return self._code == errors.Unauthenticated.code

    def renewed(self, snapshot: Snapshot) -> None:
        with self._lock:
            self._current, self._problem, self._code = snapshot, "", ""

    def failed(self, error: errors.BasaltError) -> None:
        with self._lock:
            self._problem, self._code = str(error), error.code

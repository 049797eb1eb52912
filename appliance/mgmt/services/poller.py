"""Asks the MDM all the time how everything is, and keeps the answer in ``view``.

One loop of its own; pages never wait for the MDM to see something. Where an answer takes long,
the MDM is asked less often: at most a fifth of the time goes into asking for everything. In
between it is asked for its state alone, for a tenth of the time, so that a large cluster's news is
nearly as young as a small one's.
"""

import dataclasses
import logging
from typing import Any

from appliance.common import clock as clocks
from appliance.common import errors
from appliance.mgmt.services import history, mdm, view

logger = logging.getLogger(__name__)

_SHARE, _STATE_SHARE = 5, 10

#: What the MDM calls it when a scrub finds copies that differ.
MISMATCH = "scrub_mismatch"

#: Volumes that are not healthy whose replicas are read each time; of more, the gravest.
_DETAILS = 50
_GRAVITY = ("unhealthy", "degraded", "unknown")


class Poller:
    """``run_once`` is called by one loop."""

    def __init__(
        self, source: mdm.Mdm, seen: view.View, past: history.History, clock: clocks.Clock
    ) -> None:
        self._mdm = source
        self._view = seen
        self._history = past
        self._clock = clock
        self._not_before = self._state_not_before = 0.0
        self._event = 0
        self._paths: frozenset[str] = frozenset()

    def run_once(self) -> bool:
        """Ask; whether a whole snapshot was taken."""
        began, current = self._clock.monotonic(), self._view.current
        try:
            if current is not None and not self._view.problem and began < self._not_before:
                self._renew_state(current)
                return False
            snapshot = self._read()
        except errors.BasaltError as exc:
            if self._view.problem != str(exc):
                logger.warning("mdm_not_heard code=%s why=%s", exc.code, exc)
            self._view.failed(exc)
            return False
        if self._view.problem:
            logger.info("mdm_heard cluster=%s", snapshot.status["cluster"])
        self._view.renewed(snapshot)
        known = {volume["id"] for volume in snapshot.volumes}
        self._history.taken(snapshot.at, snapshot.statistics, known)
        now = self._clock.monotonic()
        self._not_before = now + (now - began) * (_SHARE - 1) - 1.0
        return True

    def _renew_state(self, current: view.Snapshot) -> None:
        """``current`` with the cluster's state and jobs as they are now, unless it is too early."""
        began = self._clock.monotonic()
        if began < self._state_not_before:
            return
        status = self._mdm.get("/api/v1/status")
        self._view.renewed(dataclasses.replace(current, at=self._clock.wall(), status=status))
        now = self._clock.monotonic()
        self._state_not_before = now + (now - began) * (_STATE_SHARE - 1)

    def _read(self) -> view.Snapshot:
        status = self._mdm.get("/api/v1/status")
        topology = self._mdm.get("/discovery/topology")
        volumes = self._mdm.items("volumes")
        hurt = [one for one in volumes if one["health"] in _GRAVITY]
        hurt.sort(key=lambda one: _GRAVITY.index(one["health"]))
        details: dict[str, dict[str, Any]] = {}
        for one in hurt[:_DETAILS]:
            try:
                details[one["id"]] = self._mdm.get(f"/api/v1/volumes/{one['id']}")
            except errors.NotFound:
                continue  # deleted meanwhile
        told = self._mdm.get("/api/v1/statistics")
        return view.Snapshot(
            at=self._clock.wall(),
            status=status,
            topology=topology,
            volumes=volumes,
            statistics=told["items"],
            sync_s=told["device_sync_s"],
            paths=self._known_paths(),
            details=details,
            figures=self._mdm.get("/health/metrics"),
            mismatches=self._mismatches(),
            by_id={one["id"]: one for one in volumes},
        )

    def _known_paths(self) -> frozenset[str]:
        """Read again after the MDM was away: another release may have come back."""
        if self._view.problem or not self._paths:
            self._paths = frozenset(self._mdm.get("/api/v1/openapi.json")["paths"])
        return self._paths

    def _mismatches(self) -> list[dict[str, Any]]:
        """Events of the kind that were not seen before. After a start all that are kept are
        read again: alerts that were raised for them already are not raised twice."""
        page = self._mdm.get("/api/v1/events", kind=MISMATCH, after=self._event)
        found: list[dict[str, Any]] = page["items"]
        if found:
            self._event = found[-1]["seq"]
        return found

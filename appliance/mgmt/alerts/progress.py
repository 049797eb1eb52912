"""How rebuilds move, seen over time: since when one stands still, and how long it still takes.

Also since when I/O of a mapping waits. Fed with each snapshot; not thread-safe.
"""

from collections.abc import Iterable
from typing import Any

#: How much of the newest value of the pace counts.
_WEIGHT = 0.2


class Progress:
    def __init__(self) -> None:
        self._jobs: dict[str, tuple[int, float, float, float]] = {}
        self._waits: dict[str, float] = {}

    def seen(
        self, now: float, jobs: Iterable[dict[str, Any]], statistics: Iterable[dict[str, Any]]
    ) -> None:
        """Monotonic ``now``. Jobs and mappings that are not there any more are forgotten."""
        known = {}
        for job in jobs:
            done, at, moved, pace = self._jobs.get(job["id"], (job["done_bytes"], now, now, 0.0))
            if job["done_bytes"] != done:
                fresh = max(0, job["done_bytes"] - done) / max(0.001, now - at)
                pace = fresh if not pace else pace + _WEIGHT * (fresh - pace)
                moved = now
            known[job["id"]] = (job["done_bytes"], now, moved, pace)
        self._jobs = known
        self._waits = {
            one["mapping_id"]: self._waits.get(one["mapping_id"], now)
            for one in statistics
            if one["waiting"]
        }

    def standing_s(self, job_id: str, now: float) -> float:
        """For how long the job's progress has not changed."""
        return now - self._jobs[job_id][2] if job_id in self._jobs else 0.0

    def left_s(self, job: dict[str, Any]) -> float | None:
        """How long the job takes at its pace; None before there is one."""
        pace = self._jobs[job["id"]][3] if job["id"] in self._jobs else 0.0
        left = job["total_bytes"] - job["done_bytes"]
        return left / pace if pace > 0 and job["total_bytes"] else None

    def waiting_s(self, mapping_id: str, now: float) -> float:
        """For how long I/O of the mapping has waited."""
        return now - self._waits[mapping_id] if mapping_id in self._waits else 0.0

"""The agent's side of a scrub: starts the scrubber process, reads what it tells, ends it.

Called by ``following``. What the scrubber does is in ``scrubber``; a seal ends it like a copier.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from appliance.common import errors, tls
from appliance.protocol import codec, messages
from appliance.sds import processes, worker


@dataclass(frozen=True, slots=True)
class Job:
    """What the scrubber is told. ``findings``: of a run of the same pass that ended too early;
    the rest is of volume.json."""

    order: messages.ScrubOrder
    size: int
    unit: int
    ncols: int
    findings: tuple[messages.ScrubFinding, ...] = ()
    data_tls: tls.DataTls = tls.NONE


class Scrub:
    """One run of the scrubber. ``report`` is its newest word; ``on_change`` is called after each
    that is more than progress."""

    def __init__(
        self,
        job: Job,
        lock_fd: int,
        starter: processes.Starter,
        on_change: Callable[[], None],
    ) -> None:
        self.order = job.order
        self.report = messages.ScrubReport(
            job.order.generation,
            job.order.scrub_id,
            job.order.start,
            job.order.counts,
            job.findings,
        )
        self._on_change = on_change
        self._worker = worker.Worker(
            "appliance.sds.scrubber", job, lock_fd, starter, self._line, self._ended
        )

    @property
    def broken(self) -> bool:
        """It ended and is not done: to be started anew."""
        return self._worker.ended and not self.report.done

    def serves(self, order: messages.ScrubOrder) -> bool:
        """Whether this run is what ``order`` wants. How far the pass was when the order was made
        is of no account: this run knows better."""
        same = replace(
            order,
            bandwidth=self.order.bandwidth,
            start=self.order.start,
            counts=self.order.counts,
        )
        return same == self.order

    def throttle(self, bandwidth: int) -> None:
        """Go on at ``bandwidth`` bytes a second."""
        if bandwidth != self.order.bandwidth:
            self.order = replace(self.order, bandwidth=bandwidth)
            self._worker.send({"bandwidth": bandwidth})

    def kill(self) -> None:
        """SIGKILL. Does not wait."""
        self._worker.kill()

    def close(self, limit_s: float) -> None:
        """SIGKILL the scrubber and wait for its end."""
        self._worker.close(limit_s)

    def _line(self, line: str) -> None:
        before = self.report
        try:
            self.report = codec.from_json(messages.ScrubReport, json.loads(line))
        except (errors.BasaltError, ValueError) as exc:
            self.report = replace(before, error=str(exc))
        if replace(self.report, position=0, counts=before.counts) != replace(before, position=0):
            self._on_change()

    def _ended(self, status: int) -> None:
        if not self.report.done and not self.report.error:
            self.report = replace(self.report, error=f"the scrubber ended with status {status}")
        self._on_change()

"""The agent's side of a copy: starts the copier process, reads its progress, ends it (R8).

Called by ``legs``. What the copier does is in ``copier``; it inherits the shared flock, so that a
seal can prove its end.
"""

import json
from collections.abc import Callable
from dataclasses import replace

from appliance.common import errors
from appliance.protocol import codec, messages
from appliance.sds import copy_job, processes, worker


class Copy:
    """One run of the copier. ``report`` is its newest word; ``on_change`` is called after each.

    ``settle`` is called, in a thread of this copy, when the copier is through: it makes sure
    that all is on disk before the report says done. ``device_failed`` is called with the reason
    if the copier could not write for a broken device.
    """

    def __init__(
        self,
        job: copy_job.Job,
        lock_fd: int,
        starter: processes.Starter,
        settle: Callable[[], None],
        on_change: Callable[[], None],
        device_failed: Callable[[str], None],
    ) -> None:
        self.order = job.order
        self.report = messages.CopyReport(job.order.generation, 0, 0)
        self._settle = settle
        self._on_change = on_change
        self._device_failed = device_failed
        self._worker = worker.Worker(
            "appliance.sds.copier", job, lock_fd, starter, self._line, self._ended
        )

    @property
    def broken(self) -> bool:
        """It ended and is not done: to be started anew."""
        return self._worker.ended and not self.report.done

    def serves(self, order: messages.CopyOrder) -> bool:
        """Whether this run is what ``order`` wants, its bandwidth apart."""
        return replace(order, bandwidth=self.order.bandwidth) == self.order

    def throttle(self, bandwidth: int) -> None:
        """Go on at ``bandwidth`` bytes a second."""
        if bandwidth != self.order.bandwidth:
            self.order = replace(self.order, bandwidth=bandwidth)
            self._worker.send({"bandwidth": bandwidth})

    def kill(self) -> None:
        """SIGKILL the copier. Does not wait."""
        self._worker.kill()

    def close(self, limit_s: float) -> None:
        """SIGKILL the copier and wait for its end. Its end is proved by the fence, not here."""
        self._worker.close(limit_s)

    def _line(self, line: str) -> None:
        try:
            self._take(codec.from_json(messages.CopyReport, json.loads(line)))
        except errors.DeviceFailed as exc:
            self._fail(str(exc))
        except (errors.BasaltError, ValueError) as exc:
            self.report = replace(self.report, done=False, error=str(exc))

    def _ended(self, status: int) -> None:
        if status == copy_job.EXIT_DEVICE_FAILED:
            self._fail(self.report.error)
        elif not self.report.done and not self.report.error:
            self.report = replace(self.report, error=f"the copier ended with status {status}")
        self._on_change()

    def _fail(self, why: str) -> None:
        self.report = replace(self.report, done=False, error=why)
        self._device_failed(why)

    def _take(self, report: messages.CopyReport) -> None:
        if report.done:
            self._settle()
        before, self.report = self.report, report
        # Mere progress waits for the next heartbeat.
        if (before.done, before.waiting, before.error, before.waiting_for) != (
            report.done,
            report.waiting,
            report.error,
            report.waiting_for,
        ):
            self._on_change()

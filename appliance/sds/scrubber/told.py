"""What the scrubber tells its agent: one line of JSON (messages.ScrubReport) at a time."""

import json
from collections.abc import Callable
from dataclasses import replace

from appliance.common import clock
from appliance.protocol import codec, messages
from appliance.sds import scrubs

#: Least time between two lines that differ in nothing but progress. Seconds.
_EVERY_S = 1.0

#: Findings told of one by one; of more, only the number is.
MAX_FINDINGS = 256


class Told:
    """Used by one thread. ``write`` takes one line."""

    def __init__(self, job: scrubs.Job, time: clock.Clock, write: Callable[[str], None]) -> None:
        order = job.order
        self._report = messages.ScrubReport(
            order.generation, order.scrub_id, order.start, order.counts, job.findings
        )
        self._time = time
        self._write = write
        self._told_at = time.monotonic()
        self._tell()

    def progress(self, position: int, compared: int = 0, skipped: int = 0) -> None:
        """Everything before ``position`` was looked at."""
        counts = self._report.counts
        counts = replace(
            counts,
            compared_bytes=counts.compared_bytes + compared,
            skipped=counts.skipped + skipped,
        )
        news = self._report.waiting != ""
        self._report = replace(self._report, position=position, counts=counts, waiting="")
        if news or self._time.monotonic() - self._told_at >= _EVERY_S:
            self._tell()

    def found(self, finding: messages.ScrubFinding) -> None:
        """Two copies differ. Its number is given here."""
        counts = self._report.counts
        counts = replace(
            counts,
            mismatches=counts.mismatches + 1,
            repaired=counts.repaired + finding.repaired,
        )
        finding = replace(finding, number=counts.mismatches)
        findings = (*self._report.findings, finding)[-MAX_FINDINGS:]
        self._report = replace(self._report, counts=counts, findings=findings)
        self._tell()

    def waiting(self, why: str) -> None:
        """The pass does not go on, because of ``why``; it will be tried again."""
        if self._report.waiting != why:
            self._report = replace(self._report, waiting=why)
            self._tell()

    def device_failed(self, device_id: str, why: str) -> None:
        """The device cannot read its own bytes."""
        failed = (*self._report.failed, device_id)
        self._report = replace(self._report, failed=failed, error=why)
        self._tell()

    def done(self, size: int) -> None:
        self._report = replace(self._report, position=size, done=True, waiting="")
        self._tell()

    def failed(self, why: str) -> None:
        if not self._report.error:
            self._report = replace(self._report, error=why)
            self._tell()

    def _tell(self) -> None:
        self._told_at = self._time.monotonic()
        self._write(json.dumps(codec.to_json(self._report)))

"""One pass over a volume, region by region. Called by ``__main__``.

For each region: the clients begin to watch it; each unit is compared under their range locks (R8)
and its sum noted; the sums are made durable on every device; then the clients take the region's
touched mark away, unless something was written there since they began to watch. So a sum that
counts is always of bytes that nobody changed since.
"""

import functools
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from appliance.common import backoff, clock, errors
from appliance.domain import intents, model, sums
from appliance.protocol import messages
from appliance.sds import scrubs
from appliance.sds.copier import holder, locks, source, throttle
from appliance.sds.scrubber import clients, replica, told

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: What a lock is asked for at first; doubled each time it was not enough. Seconds.
_FIRST_LIMIT_S = 2.0

#: Regions whose holes are asked for at once: 256 MiB.
_CHUNK_REGIONS = 16


class Run:
    """``run`` returns when the pass is over. It goes on trying while servers and clients do not
    answer; its agent ends it. Raises errors.DeviceFailed for a device that cannot be read."""

    def __init__(
        self, job: scrubs.Job, telling: told.Told, pace: throttle.Throttle, time: clock.Clock
    ) -> None:
        order = job.order
        self._job = job
        self._told = telling
        self._pace = pace
        self._replicas = {
            leg.leg.device_id: replica.Replica(leg, job.size, job.unit, time, job.data_tls)
            for leg in order.legs
        }
        self._locks = locks.Locks(order.clients, order.generation, time).chain()
        self._clients = clients.Clients(order.clients, order.generation)
        self._never = threading.Event()

    def run(self) -> None:
        try:
            self._pass()
        except errors.DeviceFailed as exc:
            self._told.device_failed(exc.facts["ident"], str(exc))
            raise

    def _pass(self) -> None:
        first = self._job.order.start // model.REGION_BYTES
        count = intents.region_count(self._job.size)
        for start in range(first, count, _CHUNK_REGIONS):
            chunk = range(start, min(start + _CHUNK_REGIONS, count))
            zeroes = self._tried(functools.partial(self._zeroes, chunk))
            for region in chunk:
                self._region(region, zeroes)
        self._told.done(self._job.size)

    def _zeroes(self, chunk: range) -> dict[str, source.Extents]:
        start = chunk.start * model.REGION_BYTES
        end = min(chunk.stop * model.REGION_BYTES, self._job.size)
        return {ident: each.zeroes(start, end - start) for ident, each in self._replicas.items()}

    # --- one region -------------------------------------------------------------------

    def _region(self, region: int, zeroes: dict[str, source.Extents]) -> None:
        start = region * model.REGION_BYTES
        end = min(start + model.REGION_BYTES, self._job.size)
        # What was a hole everywhere a moment ago was equal then, and needs no lock to be so.
        if all(source.all_within(found, start, end - start) for found in zeroes.values()):
            self._told.progress(end)
            return
        if intents.is_dirty(self._marks(region), region):
            self._told.progress(end, skipped=1)
            return
        self._tried(lambda: self._clients.watch(start, end - start))
        found = bytearray()
        for offset in range(start, end, self._job.unit):
            length = min(self._job.unit, end - offset)
            found += self._unit(region, offset, length)
            self._told.progress(offset, compared=length)
        self._keep(region, bytes(found))
        self._told.progress(end)

    def _keep(self, region: int, found: bytes) -> None:
        """Record the sums, then have the touched mark taken away: never the other way round."""
        start = region * model.REGION_BYTES
        end = min(start + model.REGION_BYTES, self._job.size)

        def _record() -> None:
            for each in self._replicas.values():
                if each.sums(region) != found:
                    each.record(region, found)

        self._tried(_record)
        if intents.is_touched(self._marks(region), region):
            try:
                self._clients.scrubbed(start, end - start)
            except errors.BasaltError as exc:  # the sums wait for the next pass
                logger.info("mark_left region=%d why=%s", region, exc)

    def _marks(self, region: int) -> bytearray:
        """All marks that any intent file on any device has of ``region``."""

        def _read() -> bytearray:
            regions = range(region, region + 1)
            return intents.union(*(each.marks(regions) for each in self._replicas.values()))

        return self._tried(_read)

    # --- one unit -----------------------------------------------------------------------

    def _unit(self, region: int, offset: int, length: int) -> bytes:
        """The unit's sum, ``sums.NONE`` if its copies were not found equal."""
        finding = self._compared(region, offset, length)
        if isinstance(finding, bytes):
            return finding
        if finding.device_id and self._job.order.repair:
            finding = self._repaired(finding)
        self._told.found(finding)
        logger.warning(
            "mismatch offset=%d column=%d device=%s repaired=%s why=%s",
            finding.offset,
            finding.column,
            finding.device_id or "unknown",
            finding.repaired,
            finding.why,
        )
        return sums.NONE

    def _compared(self, region: int, offset: int, length: int) -> bytes | messages.ScrubFinding:
        limit_s = _FIRST_LIMIT_S

        def _attempt() -> bytes | messages.ScrubFinding | None:
            with self._locks.hold(offset, length, limit_s) as held:
                found = self._look(region, offset, length)
                late = held.expired
            self._locks.let_go()
            return None if late else found

        while True:
            self._pace.take(length)
            found = self._tried(_attempt)
            if found is not None:
                return found
            logger.info("step_redone offset=%d limit_s=%g", offset, limit_s)
            limit_s = min(2 * limit_s, holder.MAX_LIMIT_S)

    def _look(self, region: int, offset: int, length: int) -> bytes | messages.ScrubFinding:
        """Both copies, while nobody writes there."""
        column = offset // self._job.unit % self._job.ncols
        one, other = (self._replicas[ident] for ident in self._job.order.columns[column])
        left, right = one.read(offset, length), other.read(offset, length)
        if left == right:
            return sums.checksum(left)
        # Marks before sums: a mark that is not there now was not there when a sum below was
        # recorded, and an intent file that goes meanwhile takes its sums with it first.
        marks = [each.marks(range(region, region + 1)) for each in self._replicas.values()]
        touched = intents.is_touched(intents.union(*marks), region)
        at = sums.place(offset, self._job.unit) - sums.row(
            region, self._job.size, self._job.unit
        )[0]  # fmt: skip
        one_sum, other_sum = (
            sums.Side(sums.checksum(data), each.sums(region)[at : at + sums.SUM_BYTES])
            for data, each in ((left, one), (right, other))
        )
        verdict, why = sums.judge(one_sum, other_sum, touched)
        rotten = {sums.Verdict.FIRST: one.device_id, sums.Verdict.SECOND: other.device_id}
        return messages.ScrubFinding(
            0, column, offset, length, device_id=rotten.get(verdict, ""), why=why
        )

    # --- repair -----------------------------------------------------------------------

    def _repaired(self, finding: messages.ScrubFinding) -> messages.ScrubFinding:
        """With the bytes of the good copy written over the rotten ones, if that can be safe.

        Where a client writes, only that client can write so that its own later writes are not
        overwritten by a late one; where none does, this generation's servers are ours alone.
        """
        pair = self._job.order.columns[finding.column]
        (good,) = (ident for ident in pair if ident != finding.device_id)
        offset, length = finding.offset, finding.length
        if len(self._clients) > 1:
            why = f"{finding.why}; not repaired while several clients have the volume mapped"
            return replace(finding, why=why)
        try:
            if len(self._clients):
                self._clients.rewrite(offset, length, good)
            else:
                data = self._replicas[good].read(offset, length)
                self._replicas[finding.device_id].write(offset, data)
        except errors.DeviceFailed:
            raise
        except errors.BasaltError as exc:
            return replace(finding, why=f"{finding.why}; the repair failed: {exc}")
        return replace(finding, repaired=True)

    # --- trying -----------------------------------------------------------------------

    def _tried(self, action: Callable[[], T]) -> T:
        """``action``'s result, tried until the peers answer."""
        pause = backoff.Backoff(0.1, 2.0)
        while True:
            try:
                return action()
            except errors.DeviceFailed:
                raise
            except errors.BasaltError as exc:
                self._told.waiting(str(exc))
            self._never.wait(pause.next_s())

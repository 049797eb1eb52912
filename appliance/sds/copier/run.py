"""One copy from beginning to end: marks joined, steps done by a few threads, all made durable.

Called by ``__main__``. It goes on trying for as long as it lives; its agent ends it.
"""

import contextvars
import errno
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal, TypeVar

from appliance.common import backoff, clock, errors
from appliance.domain import intents
from appliance.sds import copy_job, replica_store
from appliance.sds.copier import holder, locks, marks, plan, progress, source, target, throttle

logger = logging.getLogger(__name__)

T = TypeVar("T")

_THREADS = 4

#: What a lock is asked for at first; doubled each time it was not enough.
_FIRST_LIMIT_S = 2.0

_FULL = (errno.ENOSPC, errno.EDQUOT)

#: See ``Run._steps``.
_ASKING: Final = "asking"
_Steps = Iterator[tuple[plan.Step, bool] | Literal["asking"]]


class Run:
    """``run`` returns when everything is equal and on disk. Raises OSError for a local error
    that trying again would not mend."""

    def __init__(
        self,
        job: copy_job.Job,
        told: progress.Progress,
        pace: throttle.Throttle,
        time: clock.Clock,
    ) -> None:
        self._job = job
        self._told = told
        self._pace = pace
        self._time = time
        self._target = target.Target(Path(job.folder) / "data", job.thin)
        self._locks = locks.Locks(job.order.clients, job.order.generation, time)
        self._sources = {
            column.column: source.Source(
                column.source, column.source.data_export, time, job.data_tls
            )
            for column in job.order.columns
        }
        self._ended = threading.Event()
        self._failure: Exception | None = None
        self._steps_mutex = threading.Lock()

    def run(self) -> None:
        dirty = self._joined()
        self._void_sums(dirty)
        self._told.begin(plan.total_bytes(self._job, dirty))
        steps = self._steps(dirty)
        workers = [
            threading.Thread(
                target=contextvars.copy_context().run,  # the log's request id goes with it
                args=(self._work, steps),
                name=f"copy-{number}",
                daemon=True,
            )
            for number in range(_THREADS)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if self._failure is not None:
            raise self._failure
        self._target.sync()
        marks.clear(self._job)
        self._told.done()

    def _joined(self) -> frozenset[int]:
        def _read(index: int, export: str) -> bytearray:
            leg = self._job.order.columns[index].source
            return source.Source(leg, export, self._time, self._job.data_tls).read_all()

        return self._tried(lambda: marks.join(self._job, _read))

    def _void_sums(self, dirty: frozenset[int]) -> None:
        """What will be written here is not what a scrub once saw."""
        full = any(column.full for column in self._job.order.columns)
        regions = range(intents.region_count(self._job.size)) if full else dirty
        folder = Path(self._job.folder)
        replica_store.Replica(folder.parent, folder.name).void_sums(regions)

    def _work(self, steps: _Steps) -> None:
        buffer = memoryview(bytearray(plan.STEP_BYTES))
        chain = self._locks.chain()
        try:
            while not self._ended.is_set() and (step := self._next(steps, chain)) is not None:
                self._do(*step, chain, buffer)
        except Exception as exc:  # noqa: BLE001 - told by run(), in the main thread
            self._failure = self._failure or exc
            self._ended.set()
        finally:
            chain.close()

    def _next(self, steps: _Steps, chain: locks.Chain) -> tuple[plan.Step, bool] | None:
        if not self._steps_mutex.acquire(blocking=False):
            chain.let_go()
            self._steps_mutex.acquire()
        try:
            while (found := next(steps, None)) == _ASKING:
                chain.let_go()
            return found
        finally:
            self._steps_mutex.release()

    def _steps(self, dirty: frozenset[int]) -> _Steps:
        """(step, whether its source may have holes there); _ASKING before the sources are asked
        for theirs, which may take long.

        What is a hole on both sides needs no lock: all that was written since this generation
        began goes to both, so that equal before means equal after.
        """
        for start, end in plan.chunks(self._job, dirty):
            yield _ASKING
            zeroes = {
                column: self._zeroes(origin, start, end - start)
                for column, origin in self._sources.items()
            }
            empty = all(source.all_within(z, start, end - start) for z in zeroes.values())
            empty = empty and self._target.is_hole(start, end - start)
            for step in plan.steps(self._job, dirty, start, end):
                known = zeroes[step.column.column]
                if empty or (
                    source.all_within(known, step.offset, step.length)
                    and self._target.is_hole(step.offset, step.length)
                ):
                    self._told.copied(step.length)
                else:
                    yield step, source.any_within(known, step.offset, step.length)

    def _zeroes(self, origin: source.Source, start: int, length: int) -> source.Extents:
        return self._tried(lambda: origin.zeroes(start, length))

    def _do(self, step: plan.Step, sparse: bool, chain: locks.Chain, buffer: memoryview) -> None:
        limit_s = _FIRST_LIMIT_S

        def attempt() -> bool:
            with chain.hold(step.offset, step.length, limit_s) as held:
                self._transfer(step, sparse, buffer)
                return not held.expired

        while not self._ended.is_set():
            if self._pace.limited:
                chain.let_go()
            self._pace.take(step.length)
            if self._tried(attempt):
                self._told.copied(step.length)
                return
            logger.info("step_redone offset=%d limit_s=%g", step.offset, limit_s)
            limit_s = min(2 * limit_s, holder.MAX_LIMIT_S)

    def _transfer(self, step: plan.Step, sparse: bool, buffer: memoryview) -> None:
        origin = self._sources[step.column.column]
        zeroes = origin.zeroes(step.offset, step.length) if sparse else []
        for offset, length in zeroes:
            if not self._target.is_hole(offset, length):
                self._target.write_zeroes(offset, length)
        for offset, length in target.gaps(step.offset, step.length, zeroes):
            data = buffer[:length]
            origin.read_into(data, offset)
            self._target.write(offset, data)

    def _tried(self, action: Callable[[], T]) -> T:
        """``action``'s result, tried until the peers answer and the device has room."""
        pause = backoff.Backoff(0.1, 2.0)
        while True:
            client = ""
            try:
                return action()
            except holder.NoLock as exc:
                why, client = str(exc), exc.incarnation
            except errors.BasaltError as exc:
                why = str(exc)
            except OSError as exc:
                if exc.errno not in _FULL:
                    raise
                why = "the device is full"
            self._told.waiting(why, client)
            if self._ended.wait(pause.next_s()):
                raise errors.Unavailable(why="another step failed")

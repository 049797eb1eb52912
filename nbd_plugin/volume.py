"""The mapped volume as nbdkit's callbacks see it: a call returns when the rules allow, or raises.

It holds requests while there is no epoch, and sends them again under the next (R2, R5). One attempt
at a request is ``reading``'s or ``changing``'s; which epoch is in use, ``mapping``'s.
"""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from appliance.common import clock as clocks
from appliance.common import tls
from appliance.domain import layout, model
from appliance.protocol import messages
from nbd_plugin import changing, copy_locks, evening, failures, gate, mapping, marks, pulse, reading
from nbd_plugin.counters import Counters
from nbd_plugin.epoch import Epoch

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: How often quiet regions are looked for; a region is cleared after two such rounds.
CLEAR_INTERVAL_S = 5.0

#: Beyond the end of any volume.
_WHOLE = 1 << 63


class Volume:
    """Thread-safe. ``changed`` is called, from any thread, when ``status()`` has news."""

    def __init__(
        self,
        incarnation: str,
        read_only: bool,
        changed: Callable[[], None],
        clock: clocks.Clock | None = None,
        data_tls: tls.DataTls = tls.NONE,
    ) -> None:
        self._read_only = read_only
        self._changed = changed
        self._clock = clock or clocks.SystemClock()
        self.counters = Counters()
        self._mapping = mapping.Mapping(
            incarnation, self._news, self._clock, self._enter, self._lost, data_tls
        )
        self._marks: marks.Marks | None = None
        self._gate = gate.Gate()
        self._copies = copy_locks.CopyLocks(self._gate)
        self._pulse = pulse.Pulse(self._clock, self._mapping.look_again)
        self._stopping = threading.Event()

    def start(self) -> None:
        """Start the threads; nbdkit has forked by now."""
        self._pulse.start()
        self._mapping.start()
        threading.Thread(target=self._clear_marks, name="basalt-clear", daemon=True).start()

    def stop(self) -> None:
        """The process is about to exit: no thread starts anything more."""
        self._stopping.set()
        self._mapping.stop()
        self._pulse.stop()

    # --- what the agent tells ------------------------------------------------------------

    def adopt(self, volume_map: model.VolumeMap) -> None:
        """A map that is effective. An older one, or one of a generation left, is ignored (R1)."""
        self._mapping.adopt(volume_map)

    def leave(self, open_generation: int) -> None:
        """A turn to ``open_generation`` goes on: issue nothing under an older one (R6)."""
        self._mapping.leave(open_generation)

    def finish(self) -> None:
        """End cleanly: everything is answered, one last flush, then no I/O any more (R7)."""
        everything = self._gate.enter(0, _WHOLE)  # what is in flight ends; what comes finds it over
        try:
            self.flush()
            self._mapping.end("unmapped", clean=True)
        except failures.MappingEnded:
            pass  # it ended meanwhile; the status says how
        finally:
            self._gate.leave(everything)

    def fail(self, why: str) -> None:
        self._mapping.end(why, clean=False)

    def lock(
        self,
        ident: str,
        generation: int,
        offset: int,
        length: int,
        limit_s: float,
        wait: bool = True,
    ) -> None:
        """Hold a range for a copy step: writes in flight are drained, new ones wait (R8).

        It is given back after ``limit_s`` at the latest. Raises TimeoutError if the drain takes
        longer than that, or, without ``wait``, at once if there is anything to drain;
        failures.EpochOver if another generation is in use; or failures.LockIdInUse.
        """
        ticket = self._gate.enter(offset, offset + length, limit_s if wait else 0.0)
        try:
            epoch = self._mapping.epoch
            if epoch is None or epoch.over or epoch.generation != generation:
                raise failures.EpochOver(generation=generation, why="this client is not in it")
            self._copies.hold(ident, ticket, limit_s)
        except (failures.EpochOver, failures.LockIdInUse):
            self._gate.leave(ticket)
            raise

    def unlock(self, ident: str) -> None:
        self._copies.release(ident)

    # --- what nbdkit asks ----------------------------------------------------------------

    def wait_ready(self, timeout_s: float) -> None:
        """Until the first map is in use. Raises failures.MappingEnded or TimeoutError."""
        self._mapping.wait_ready(timeout_s)

    @property
    def size(self) -> int:
        """Bytes. Only after ``wait_ready``."""
        if self._mapping.map is None:
            raise failures.MappingEnded(why="there is no map yet")
        return self._mapping.map.size

    @property
    def thin(self) -> bool:
        return self._mapping.map is None or self._mapping.map.thin

    def read(self, view: memoryview, offset: int, gone: Callable[[], bool] = bool) -> None:
        """``gone``: whether nobody waits for it any more."""
        with self.counters.reading(len(view)):
            self._until_done(
                lambda epoch: reading.read(epoch, view, offset, self._clock.monotonic), False, gone
            )

    def extents(self, offset: int, length: int) -> list[tuple[int, int, int]]:
        return self._until_done(
            lambda epoch: reading.extents(epoch, offset, length, self._clock.monotonic), False
        )

    def write(
        self, view: memoryview, offset: int, fua: bool, gone: Callable[[], bool] = bool
    ) -> None:
        with self.counters.writing(len(view)):
            self.change(
                offset, len(view), lambda epoch: changing.write(epoch, view, offset, fua), gone
            )

    def zero(
        self,
        offset: int,
        length: int,
        fua: bool,
        may_trim: bool,
        gone: Callable[[], bool] = bool,
    ) -> None:
        with self.counters.trimming():
            self.change(
                offset,
                length,
                lambda epoch: changing.zero(epoch, offset, length, fua, may_trim and self.thin),
                gone,
            )

    def flush(self, gone: Callable[[], bool] = bool) -> None:
        with self.counters.flushing():
            current = self._marks
            if current is None or self._read_only:
                return
            covered = current.flush_begins()
            succeeded = False
            try:
                self._until_done(changing.flush, True, gone)
                succeeded = True
            finally:
                current.flush_ended(covered, succeeded)

    # --- status --------------------------------------------------------------------------

    def status(self) -> messages.PluginStatus:
        return self._mapping.status(self._unflushed, self.counters.snapshot)

    # --- what scrubbing needs -------------------------------------------------------------

    def in_use(self, generation: int) -> tuple[Epoch, marks.Marks]:
        """The present epoch and its marks. Raises failures.EpochOver if it is another one."""
        epoch, current = self._mapping.epoch, self._marks
        if epoch is None or epoch.over or epoch.generation != generation or current is None:
            raise failures.EpochOver(generation=generation, why="this client is not in it")
        return epoch, current

    def leave_over(self, epoch: Epoch) -> None:
        """A change of marks was not acknowledged: its generation cannot acknowledge it any more."""
        self._mapping.leave_over(epoch)

    def change(
        self,
        offset: int,
        length: int,
        attempt: Callable[[Epoch], None],
        gone: Callable[[], bool] = bool,
    ) -> None:
        """Run a write-like request: alone on its range (R9), after its intents (R3)."""
        current = self._marks
        if current is None:
            raise failures.MappingEnded(why="there is no map yet")
        regions = layout.regions(offset, length)

        def marked(epoch: Epoch) -> None:
            current.ensure(epoch, regions)
            try:
                attempt(epoch)
            except failures.FullEverywhere:
                evening.even_out(epoch, offset, length)
                raise

        ticket = self._gate.enter(offset, offset + length)
        try:
            self._mapping.check_ended()  # it may have waited for the last flush
            current.begin(regions)
            try:
                self._until_done(marked, True, gone, begun=True)
            finally:
                current.end(regions)
        finally:
            self._gate.leave(ticket)

    # --- inside --------------------------------------------------------------------------

    def _until_done(
        self,
        attempt: Callable[[Epoch], T],
        must: bool,
        gone: Callable[[], bool] = bool,
        begun: bool = False,
    ) -> T:
        """Attempt under one epoch after the other until one acknowledges all (R2).

        ``must``: the request may not be given up. When no replica could serve it for as long as
        the volume allows, the mapping ends; a read merely fails (R5).
        ``gone``: whether nobody waits for the answer any more; then it is given up, with
        failures.ClientGone, unless it may have ``begun``: such a one is done first.
        """
        waits_since = None
        while True:
            epoch = self._mapping.epoch
            why = "waiting for the MDM's next map"
            if epoch is not None:
                try:
                    done = attempt(epoch)
                    if waits_since is None:
                        return done
                    if self._mapping.waiting:
                        self._mapping.waiting = ""  # who still waits for something says so again
                        self._changed()
                    if gone():
                        raise failures.ClientGone
                    return done
                except failures.EpochOver as exc:
                    why = str(exc)
                    if must:
                        self._mapping.leave_over(epoch)
                except failures.NoReader as exc:
                    why = str(exc)
            self._mapping.check_ended()
            if not begun and gone():
                raise failures.ClientGone
            now = self._clock.monotonic()
            waits_since = waits_since or now
            self._mapping.wait_for_better(epoch, waits_since, now, why, must)

    def _news(self) -> None:
        """The mapping's state changed: count what its map means, and have the agent told."""
        used = self._mapping.map
        if used is not None and self._mapping.epoch is not None:
            degraded = any(not replica.readable for column in used.columns for replica in column)
            self.counters.map_in_use(used.generation, degraded)
        self._changed()

    def _enter(self, epoch: Epoch) -> None:
        """Make ``epoch`` fit for use: connected, with a pulse, and with what is marked known."""
        if self._marks is None:
            self._marks = marks.Marks(epoch.map.size)
        self._pulse.connect(epoch)
        epoch.open()
        self._marks.enter(epoch)

    def _unflushed(self) -> bool:
        return self._marks is not None and self._marks.unflushed

    def _lost(self, before: model.VolumeMap, after: model.VolumeMap) -> bool:
        """R7: were acknowledged, unflushed writes of ours (or, shared, of anybody) lost?"""
        if after.lost_generation <= before.generation:
            return False
        return after.shared or self._unflushed()

    def _clear_marks(self) -> None:
        while not self._stopping.wait(CLEAR_INTERVAL_S):
            epoch, current = self._mapping.epoch, self._marks
            if epoch is None or current is None or self._read_only:
                continue
            try:
                current.clear_quiet(epoch)
            except failures.EpochOver:
                self._mapping.leave_over(epoch)
            except Exception:
                logger.exception("clearing_failed generation=%d", epoch.generation)

"""The mapped volume as nbdkit's callbacks see it: a call returns when the rules allow, or raises.

It keeps the present epoch, holds requests while there is none, sends them again under the next
(R2, R5), and ends the mapping when nothing else is safe. One attempt at a request is ``engine``'s.
"""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from appliance.common import clock as clocks
from appliance.common import log
from appliance.domain import layout, model
from appliance.protocol import messages
from nbd_plugin import engine, evening, failures, gate, marks, pulse
from nbd_plugin.counters import Counters
from nbd_plugin.epoch import Epoch

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: How often quiet regions are looked for; a region is cleared after two such rounds.
CLEAR_INTERVAL_S = 5.0

#: Beyond the end of any volume.
_WHOLE = 1 << 63

#: How long a request whose replica just failed waits before it looks for an epoch again.
_RETRY_S = 0.05


class Volume:
    """Thread-safe. ``changed`` is called, from any thread, when ``status()`` has news."""

    def __init__(
        self,
        incarnation: str,
        read_only: bool,
        changed: Callable[[], None],
        clock: clocks.Clock | None = None,
    ) -> None:
        self._incarnation = incarnation
        self._read_only = read_only
        self._changed = changed
        self._clock = clock or clocks.SystemClock()
        self._cond = threading.Condition()
        self._epoch: Epoch | None = None
        self._map: model.VolumeMap | None = None
        self._next: model.VolumeMap | None = None
        self._next_request = "-"
        self._left = 0
        self._ended = ""
        self._clean = False
        self._blamed: dict[str, set[str]] = {}
        self._waiting = ""
        self._marks: marks.Marks | None = None
        self._gate = gate.Gate()
        self._copies: dict[str, tuple[gate.Ticket, threading.Timer]] = {}
        self._pulse = pulse.Pulse(self._clock, self._on_beat)
        self.counters = Counters()
        self._stopping = threading.Event()

    def start(self) -> None:
        """Start the threads; nbdkit has forked by now."""
        self._pulse.start()
        for name, body in (("basalt-opener", self._open_maps), ("basalt-clear", self._clear_marks)):
            threading.Thread(target=body, name=name, daemon=True).start()

    def stop(self) -> None:
        """The process is about to exit: no thread starts anything more."""
        self._stopping.set()
        self._pulse.stop()

    # --- what the agent tells ------------------------------------------------------------

    def adopt(self, volume_map: model.VolumeMap) -> None:
        """A map that is effective. An older one, or one of a generation left, is ignored (R1)."""
        with self._cond:
            for known in (self._map, self._next):
                if known is not None and (volume_map.generation, volume_map.version) <= (
                    known.generation,
                    known.version,
                ):
                    return
            if volume_map.generation <= self._left or self._ended:
                return
            self._next, self._next_request = volume_map, log.request_id()
            self._cond.notify_all()

    def leave(self, open_generation: int) -> None:
        """A turn to ``open_generation`` goes on: issue nothing under an older one (R6)."""
        with self._cond:
            newest = max((m.generation for m in (self._map, self._next) if m), default=0)
            if newest >= open_generation or self._left >= open_generation - 1:
                return
            self._left = open_generation - 1
            epoch = self._epoch
            self._epoch = None
        if epoch is not None:
            epoch.end(f"a turn to generation {open_generation} began")
        self._changed()

    def finish(self) -> None:
        """End cleanly: everything is answered, one last flush, then no I/O any more (R7)."""
        everything = self._gate.enter(0, _WHOLE)  # what is in flight ends; what comes finds it over
        try:
            self.flush()
            self._end("unmapped", clean=True)
        except failures.MappingEnded:
            pass  # it ended meanwhile; the status says how
        finally:
            self._gate.leave(everything)

    def fail(self, why: str) -> None:
        self._end(why, clean=False)

    def lock(self, ident: str, generation: int, offset: int, length: int, limit_s: float) -> None:
        """Hold a range for a copy step: writes in flight are drained, new ones wait (R8).

        It is given back after ``limit_s`` at the latest. Raises TimeoutError,
        failures.EpochOver if another generation is in use, or failures.LockIdInUse.
        """
        ticket = self._gate.enter(offset, offset + length, limit_s)
        with self._cond:
            epoch = self._epoch
            if ident in self._copies:
                self._gate.leave(ticket)  # the range held under this id stays held
                raise failures.LockIdInUse(ident=ident)
            if epoch is None or epoch.over or epoch.generation != generation:
                self._gate.leave(ticket)
                raise failures.EpochOver(generation=generation, why="this client is not in it")
            timer = threading.Timer(limit_s, self.unlock, (ident,))
            timer.daemon = True
            self._copies[ident] = (ticket, timer)
        timer.start()

    def unlock(self, ident: str) -> None:
        with self._cond:
            held = self._copies.pop(ident, None)
        if held is not None:
            held[1].cancel()
            self._gate.leave(held[0])

    # --- what nbdkit asks ----------------------------------------------------------------

    def wait_ready(self, timeout_s: float) -> None:
        """Until the first map is in use. Raises failures.MappingEnded or TimeoutError."""
        deadline = self._clock.monotonic() + timeout_s
        with self._cond:
            while self._epoch is None:
                self._check_ended()
                left_s = deadline - self._clock.monotonic()
                if left_s <= 0:
                    raise TimeoutError
                self._cond.wait(left_s)

    @property
    def size(self) -> int:
        """Bytes. Only after ``wait_ready``."""
        if self._map is None:
            raise failures.MappingEnded(why="there is no map yet")
        return self._map.size

    @property
    def thin(self) -> bool:
        return self._map is None or self._map.thin

    def read(self, view: memoryview, offset: int) -> None:
        with self.counters.reading(len(view)):
            self._until_done(
                lambda epoch: engine.read(epoch, view, offset, self._clock.monotonic), False
            )

    def extents(self, offset: int, length: int) -> list[tuple[int, int, int]]:
        return self._until_done(
            lambda epoch: engine.extents(epoch, offset, length, self._clock.monotonic), False
        )

    def write(self, view: memoryview, offset: int, fua: bool) -> None:
        with self.counters.writing(len(view)):
            self._change(offset, len(view), lambda epoch: engine.write(epoch, view, offset, fua))

    def zero(self, offset: int, length: int, fua: bool, may_trim: bool) -> None:
        with self.counters.trimming():
            self._change(
                offset,
                length,
                lambda epoch: engine.zero(epoch, offset, length, fua, may_trim and self.thin),
            )

    def flush(self) -> None:
        with self.counters.flushing():
            current = self._marks
            if current is None or self._read_only:
                return
            covered = current.flush_begins()
            succeeded = False
            try:
                self._until_done(engine.flush, True)
                succeeded = True
            finally:
                current.flush_ended(covered, succeeded)

    # --- status --------------------------------------------------------------------------

    def status(self) -> messages.PluginStatus:
        with self._cond:
            used = self._map
            blamed = self._blamed
            return messages.PluginStatus(
                incarnation=self._incarnation,
                generation=used.generation if used else 0,
                version=used.version if used else 0,
                left=self._left,
                suspects=tuple(sorted(blamed.get("suspects", ()))),
                failed=tuple(sorted(blamed.get("failed", ()))),
                full=tuple(sorted(blamed.get("full", ()))),
                unflushed=self._marks is not None and self._marks.unflushed,
                ended=self._ended,
                clean=self._clean,
                waiting=self._waiting,
                stats=self.counters.snapshot(),
            )

    # --- inside --------------------------------------------------------------------------

    def _change(self, offset: int, length: int, attempt: Callable[[Epoch], None]) -> None:
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
            self._check_ended()  # it may have waited for the last flush
            current.begin(regions)
            try:
                self._until_done(marked, True)
            finally:
                current.end(regions)
        finally:
            self._gate.leave(ticket)

    def _until_done(self, attempt: Callable[[Epoch], T], must: bool) -> T:
        """Attempt under one epoch after the other until one acknowledges all (R2).

        ``must``: the request may not be given up. When no replica could serve it for as long as
        the volume allows, the mapping ends; a read merely fails (R5).
        """
        waits_since = None
        while True:
            epoch = self._epoch
            why = "waiting for the MDM's next map"
            if epoch is not None:
                try:
                    done = attempt(epoch)
                    if waits_since is not None and self._waiting:
                        self._waiting = ""  # who still waits for something says so again
                        self._changed()
                    return done
                except failures.EpochOver as exc:
                    why = str(exc)
                    if must:
                        self._leave_over(epoch)
                except failures.NoReader as exc:
                    why = str(exc)
            self._check_ended()
            now = self._clock.monotonic()
            waits_since = waits_since or now
            self._wait_for_better(epoch, waits_since, now, why, must)

    def _wait_for_better(
        self, epoch: Epoch | None, since_s: float, now: float, why: str, must: bool
    ) -> None:
        limit_s = self._map.wait_limit_s if self._map else 0.0
        if limit_s and now - since_s >= limit_s:
            if must:
                self._end(f"a write waited {limit_s:.0f} s: {why}", clean=False)
                self._check_ended()
            raise failures.WaitedTooLong(seconds=limit_s, why=why)
        if now - since_s > 1.0 and self._waiting != why:
            self._waiting = why
            self._changed()
        with self._cond:
            if self._epoch is epoch or self._epoch is None:
                self._cond.wait(_RETRY_S if epoch is not None else 0.5)

    def _leave_over(self, epoch: Epoch) -> None:
        """A change was not acknowledged: this generation cannot acknowledge it any more."""
        with self._cond:
            if self._epoch is not epoch:
                return
            self._epoch = None
            self._left = max(self._left, epoch.generation)
        epoch.end("a replica did not acknowledge")
        self._changed()

    def _check_ended(self) -> None:
        if self._ended:
            raise failures.MappingEnded(why=self._ended)

    def _end(self, why: str, clean: bool) -> None:
        with self._cond:
            if self._ended:
                return
            self._ended, self._clean = why, clean
            epoch, self._epoch = self._epoch, None
            if self._map is not None:
                self._left = max(self._left, self._map.generation)
            self._cond.notify_all()
        if not clean:
            logger.error("mapping_ended incarnation=%s why=%s", self._incarnation, why)
        if epoch is not None:
            epoch.end(why)
        self._changed()

    def _on_blame(self, generation: int, device_id: str, kind: str) -> None:
        with self._cond:
            if self._map is None or self._map.generation != generation:
                return
            self._blamed.setdefault(kind, set()).add(device_id)
        logger.warning(
            "asking_for_turn generation=%d device=%s kind=%s", generation, device_id, kind
        )
        self._changed()

    def _on_beat(self) -> None:
        with self._cond:
            self._cond.notify_all()

    def _open_maps(self) -> None:
        """Put each new map to use: its own thread, because connecting may take seconds."""
        while not self._stopping.is_set():
            with self._cond:
                while self._next is None:
                    self._cond.wait(1.0)
                    if self._stopping.is_set():
                        return
                volume_map, self._next = self._next, None
                request_id = self._next_request
            try:
                with log.request(request_id):
                    self._use(volume_map)
            except Exception:
                logger.exception("map_not_used generation=%d", volume_map.generation)
                self._end("the plugin could not use a map; see its log", clean=False)

    def _use(self, volume_map: model.VolumeMap) -> None:
        old = self._epoch
        if old is not None and old.generation == volume_map.generation and not old.over:
            old.adopt(volume_map)
            with self._cond:
                self._map = volume_map
                self._cond.notify_all()
            self._changed()
            return
        if old is not None:
            old.end(f"generation {volume_map.generation} began")
        before = self._map
        if before is not None and self._lost(before, volume_map):
            self._end(
                "acknowledged writes that were not flushed may be lost; every copy of "
                "a column lost its cache",
                clean=False,
            )
            return
        epoch = Epoch(
            volume_map,
            lambda device, kind: self._on_blame(volume_map.generation, device, kind),
            self._clock,
        )
        with self._cond:
            self._map = volume_map
            self._blamed = {}
            self._epoch = None
            if self._marks is None:
                self._marks = marks.Marks(volume_map.size)
        self._pulse.connect(epoch)
        epoch.open()
        self._marks.enter(epoch)
        with self._cond:
            if self._ended or self._left >= epoch.generation:
                epoch.end("it was left before it began")
                return
            self._epoch = epoch
            self._waiting = ""
            self._cond.notify_all()
        logger.info(
            "generation_in_use generation=%d version=%d", volume_map.generation, volume_map.version
        )
        self._changed()

    def _lost(self, before: model.VolumeMap, after: model.VolumeMap) -> bool:
        """R7: were acknowledged, unflushed writes of ours (or, shared, of anybody) lost?"""
        if after.lost_generation <= before.generation:
            return False
        return after.shared or (self._marks is not None and self._marks.unflushed)

    def _clear_marks(self) -> None:
        while not self._stopping.wait(CLEAR_INTERVAL_S):
            epoch, current = self._epoch, self._marks
            if epoch is None or current is None or self._read_only:
                continue
            try:
                current.clear_quiet(epoch)
            except failures.EpochOver:
                self._leave_over(epoch)
            except Exception:
                logger.exception("clearing_failed generation=%d", epoch.generation)

"""A mapping from its first map to its end: which epoch is in use, and how one is left.

Every map of the agent comes in here, and whoever waits for a better epoch waits here. What the
epochs are used for is ``volume``'s.
"""

import logging
import threading
from collections.abc import Callable

from appliance.common import clock as clocks
from appliance.common import log, tls
from appliance.domain import model
from appliance.protocol import messages
from nbd_plugin import failures
from nbd_plugin.epoch import Epoch

logger = logging.getLogger(__name__)

#: How long a request whose replica just failed waits before it looks for an epoch again.
_RETRY_S = 0.05


class Mapping:
    """Thread-safe. ``epoch`` is the one in use, if any; ``waiting`` says what a request waits for.

    ``changed`` is called, from any thread, when ``status`` has news.
    """

    def __init__(
        self,
        incarnation: str,
        changed: Callable[[], None],
        clock: clocks.Clock,
        enter: Callable[[Epoch], None],
        lost: Callable[[model.VolumeMap, model.VolumeMap], bool],
        data_tls: tls.DataTls = tls.NONE,
    ) -> None:
        """``enter(epoch)`` makes an epoch fit for use, before it is; it may take seconds.

        ``lost(before, after)``: does the map ``after`` say that writes of ours were lost (R7)?
        """
        self._incarnation = incarnation
        self._changed = changed
        self._clock = clock
        self._enter = enter
        self._lost = lost
        self._tls = data_tls
        self._cond = threading.Condition()
        self.epoch: Epoch | None = None
        self.map: model.VolumeMap | None = None
        self.ended = ""
        self.waiting = ""
        self._next: model.VolumeMap | None = None
        self._next_request = "-"
        self._left = 0
        self._clean = False
        self._began = False
        self._blamed: dict[str, set[str]] = {}
        self._stopping = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._open_maps, name="basalt-opener", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()

    def adopt(self, volume_map: model.VolumeMap) -> None:
        """A map that is effective. An older one, or one of a generation left, is ignored (R1)."""
        with self._cond:
            for known in (self.map, self._next):
                if known is not None and (volume_map.generation, volume_map.version) <= (
                    known.generation,
                    known.version,
                ):
                    return
            if volume_map.generation <= self._left or self.ended:
                return
            self._next, self._next_request = volume_map, log.request_id()
            self._cond.notify_all()

    def leave(self, open_generation: int) -> None:
        """A turn to ``open_generation`` goes on: issue nothing under an older one (R6)."""
        with self._cond:
            newest = max((m.generation for m in (self.map, self._next) if m), default=0)
            if newest >= open_generation or self._left >= open_generation - 1:
                return
            self._left = open_generation - 1
            epoch = self.epoch
            self.epoch = None
        if epoch is not None:
            epoch.end(f"a turn to generation {open_generation} began")
        self._changed()

    def end(self, why: str, clean: bool) -> None:
        """No I/O any more, for this reason; only the first one counts."""
        with self._cond:
            if self.ended:
                return
            self.ended, self._clean = why, clean
            epoch, self.epoch = self.epoch, None
            if self.map is not None:
                self._left = max(self._left, self.map.generation)
            self._cond.notify_all()
        if not clean:
            logger.error("mapping_ended incarnation=%s why=%s", self._incarnation, why)
        if epoch is not None:
            epoch.end(why)
        self._changed()

    # --- for requests -----------------------------------------------------------------------

    def wait_ready(self, timeout_s: float) -> None:
        """Until the first map was put to use, for the size is known from then on; a client that
        comes while another map is awaited gets its connection, and waits with its requests.

        Raises failures.MappingEnded or TimeoutError.
        """
        deadline = self._clock.monotonic() + timeout_s
        with self._cond:
            self.check_ended()
            while not self._began:
                self.check_ended()
                left_s = deadline - self._clock.monotonic()
                if left_s <= 0:
                    raise TimeoutError
                self._cond.wait(left_s)

    def check_ended(self) -> None:
        """Raises failures.MappingEnded if it has."""
        if self.ended:
            raise failures.MappingEnded(why=self.ended)

    def leave_over(self, epoch: Epoch) -> None:
        """A change was not acknowledged: this generation cannot acknowledge it any more."""
        with self._cond:
            if self.epoch is not epoch:
                return
            self.epoch = None
            self._left = max(self._left, epoch.generation)
        epoch.end("a replica did not acknowledge")
        self._changed()

    def wait_for_better(
        self, epoch: Epoch | None, since_s: float, now: float, why: str, must: bool
    ) -> None:
        """Wait, not for long, for another epoch than ``epoch``; the caller tries again.

        Raises failures.WaitedTooLong, or ends the mapping if the request ``must`` be done, when it
        has waited ``since_s`` for as long as the volume allows (R5).
        """
        limit_s = self.map.wait_limit_s if self.map else 0.0
        if limit_s and now - since_s >= limit_s:
            if must:
                self.end(f"a write waited {limit_s:.0f} s: {why}", clean=False)
                self.check_ended()
            raise failures.WaitedTooLong(seconds=limit_s, why=why)
        if now - since_s > 1.0 and self.waiting != why:
            self.waiting = why
            self._changed()
        with self._cond:
            if self.epoch is epoch or self.epoch is None:
                self._cond.wait(_RETRY_S if epoch is not None else 0.5)

    def look_again(self) -> None:
        """A pulse became fresher: a read that was held may go on now (R6)."""
        with self._cond:
            self._cond.notify_all()

    # --- status and turns -------------------------------------------------------------------

    def status(
        self, unflushed: Callable[[], bool], stats: Callable[[], messages.IoStats]
    ) -> messages.PluginStatus:
        with self._cond:
            used = self.map
            blamed = self._blamed
            return messages.PluginStatus(
                incarnation=self._incarnation,
                generation=used.generation if used else 0,
                version=used.version if used else 0,
                left=self._left,
                suspects=tuple(sorted(blamed.get("suspects", ()))),
                unreached=tuple(sorted(blamed.get("unreached", ()))),
                failed=tuple(sorted(blamed.get("failed", ()))),
                full=tuple(sorted(blamed.get("full", ()))),
                unflushed=unflushed(),
                ended=self.ended,
                clean=self._clean,
                waiting=self.waiting,
                stats=stats(),
            )

    def _on_blame(self, generation: int, device_id: str, kind: str) -> None:
        with self._cond:
            if self.map is None or self.map.generation != generation:
                return
            self._blamed.setdefault(kind, set()).add(device_id)
        logger.warning(
            "asking_for_turn generation=%d device=%s kind=%s", generation, device_id, kind
        )
        self._changed()

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
                self.end("the plugin could not use a map; see its log", clean=False)

    def _use(self, volume_map: model.VolumeMap) -> None:
        old = self.epoch
        if old is not None and old.generation == volume_map.generation and not old.over:
            old.adopt(volume_map)
            with self._cond:
                self.map = volume_map
                self._cond.notify_all()
            self._changed()
            return
        if old is not None:
            old.end(f"generation {volume_map.generation} began")
        before = self.map
        if before is not None and self._lost(before, volume_map):
            self.end(
                "acknowledged writes that were not flushed may be lost; every copy of "
                "a column lost its cache",
                clean=False,
            )
            return
        epoch = Epoch(
            volume_map,
            lambda device, kind: self._on_blame(volume_map.generation, device, kind),
            self._clock,
            self._tls,
        )
        with self._cond:
            self.map = volume_map
            self._blamed = {}
            self.epoch = None
        self._enter(epoch)
        with self._cond:
            if self.ended or self._left >= epoch.generation:
                epoch.end("it was left before it began")
                return
            self.epoch = epoch
            self._began = True
            self.waiting = ""
            self._cond.notify_all()
        logger.info(
            "generation_in_use generation=%d version=%d", volume_map.generation, volume_map.version
        )
        self._changed()

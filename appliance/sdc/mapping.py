"""One mapping: looks, asks ``steps`` what comes next, and does it, in a thread of its own.

Whatever waits for a tool or a device happens in that thread only. Orders and maps come from the
poll loop and pass it by (``Plugin.offer``), for a device that hangs may wait for just that map.
"""

import dataclasses
import logging
import socket
import threading

from appliance.common import backoff, errors, log
from appliance.protocol import messages
from appliance.sdc import device, ground, plugin, records, steps

logger = logging.getLogger(__name__)

#: How often a mapping looks around without being woken.
_TICK_S = 1.0

#: A plugin that lived shorter than this is not replaced at once.
_SHORT_LIFE_S = 60.0


class Mapping:
    """``order``, ``report``, ``lock``, ``unlock`` and ``scrub`` may be called from any thread;
    only ``lock`` and ``scrub`` wait."""

    def __init__(self, on: ground.Ground, record: records.Record) -> None:
        self._ground = on
        self._book = records.Book(on.cfg.run_dir, record)
        self._device = device.Device(on, self._book)
        self._plugin: plugin.Plugin | None = None
        self._order: messages.MappingOrder | None = None
        self._last_status: messages.PluginStatus | None = None
        self._restart = backoff.Backoff(0.1, 30.0)
        self._retry = backoff.Backoff(0.2, 5.0)
        self._start_again_at = 0.0
        self._place = on.starts.place()
        self._problem = ""
        self._shown = messages.MappingReport(record.mapping_id, "starting")
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(
            target=self._run, name=f"mapping-{record.mapping_id}", daemon=True
        )

    def start(self) -> None:
        """Take up what an earlier agent left, and go on from there."""
        self._plugin = plugin.adopt(self._ground, self._book, self._news)
        self._publish(self._look())
        self._thread.start()

    def close(self) -> None:
        """Stop looking after it. Plugin and device stay as they are."""
        self._stopping = True
        self._wake.set()
        self._thread.join(2 * _TICK_S)
        if (running := self._plugin) is not None:
            running.leave()

    def forget(self) -> None:
        """The MDM knows that it is detached: nothing need be remembered."""
        self.close()
        self._book.folder.remove()

    @property
    def record(self) -> records.Record:
        return self._book.record

    def order(self, order: messages.MappingOrder) -> None:
        """What is wanted from now on. Never blocks for long."""
        changed = order != self._order
        self._order = order
        if (running := self._plugin) is not None:
            with log.request(order.request_id or "-"):
                self._tell(running, order)
        if changed:
            self._wake.set()

    def report(self) -> messages.MappingReport:
        running = self._plugin
        status = running.status if running is not None else self._last_status
        return dataclasses.replace(self._shown, plugin=status)

    def lock(self, ident: str, request: messages.LockRequest, limit_s: float) -> None:
        """As ``Plugin.lock``."""
        self._running(request.incarnation).lock(ident, request, limit_s)

    def unlock(self, ident: str) -> None:
        if (running := self._plugin) is not None:
            running.unlock(ident)

    def lock_line(self, incarnation: str, token: str, generation: int, line: socket.socket) -> None:
        """As ``Plugin.lock_line``."""
        self._running(incarnation).lock_line(token, generation, line)

    def scrub(self, ident: str, request: messages.ScrubRequest, limit_s: float) -> None:
        """As ``Plugin.scrub``."""
        self._running(request.incarnation).scrub(ident, request, limit_s)

    def _running(self, incarnation: str) -> plugin.Plugin:
        running = self._plugin
        if running is None or running.incarnation != incarnation:
            raise errors.NotFound(kind="incarnation", key=incarnation)
        return running

    def _tell(self, running: plugin.Plugin, order: messages.MappingOrder) -> None:
        running.offer(order)
        if order.force and not order.wanted:
            # Not by the mapping's thread, which may hang in just that I/O.
            running.cut_off("unmapped by force")
        elif order.cut_off == running.incarnation:
            running.cut_off("this client was cut off: it answered nobody while a copy waited")

    def _run(self) -> None:
        try:
            self._run_on()
        finally:
            self._place.give_back()

    def _run_on(self) -> None:
        while not self._stopping:
            self._wake.clear()
            pause_s = _TICK_S
            order = self._order
            try:
                with log.request((order.request_id if order is not None else "") or "-"):
                    again = self._run_once()
                if again:
                    pause_s = 0.0
                self._problem = ""
                self._retry.reset()
            except (errors.BasaltError, OSError) as exc:
                if str(exc) != self._problem:
                    logger.warning("mapping_waits id=%s why=%s", self.record.mapping_id, exc)
                self._problem = str(exc)
                pause_s = self._retry.next_s()
            except Exception:  # a mapping must outlive any bug in one of its steps
                logger.exception("mapping_failed id=%s", self.record.mapping_id)
                self._problem = "an unforeseen error; the client's log has its cause"
                pause_s = self._retry.next_s()
            self._publish(self._look())
            if pause_s:
                self._wake.wait(pause_s)

    def _run_once(self) -> bool:
        """Do one step; whether the next one may follow at once."""
        order = self._order
        seen = self._look()
        self._publish(seen)
        if seen.known or not seen.running or self._place.overdue(self._ground.clock.monotonic()):
            self._place.give_back()
        step = steps.next_step(order.wanted if order is not None else None, seen)
        if order is None or step is steps.Step.WAIT:
            return False
        match step:
            case steps.Step.START:
                self._start_plugin(order)
            case steps.Step.ATTACH:
                self._device.attach(order)
            case steps.Step.RENEW:
                self._device.renew(order)
            case steps.Step.DETACH:
                usable = seen.device is steps.Device.BOUND and not seen.ended
                self._device.detach(order.force, flush=usable)
            case steps.Step.END:
                assert self._plugin is not None, "only a running plugin is ended (steps)"
                self._plugin.end()
            case steps.Step.STOP:
                self._stop_plugin()
            case steps.Step.DONE:
                if not self.record.detached:
                    self._book.write(detached=True)
                return False
            case _:
                self._keep(order)
                return False
        return True

    def _look(self) -> steps.Seen:
        running = self._plugin
        if running is not None and not running.process.alive:
            self._plugin_died(running)
            running = None
        status = running.status if running is not None else None
        return steps.Seen(
            running=running is not None,
            known=status is not None,
            serving=status is not None and status.generation > 0,
            ended=status is not None and bool(status.ended),
            clean=status is not None and status.clean,
            asked=running is not None and running.asked,
            late=running is not None and running.late,
            device=self._device.seen(running is not None),
        )

    def _start_plugin(self, order: messages.MappingOrder) -> None:
        if self._ground.clock.monotonic() < self._start_again_at:
            raise errors.Unavailable(
                why="the process that serves this volume died; another one is started soon "
                "(the client's log says more)"
            )
        if not self._place.take(self._ground.clock.monotonic(), _TICK_S):
            return  # what is wanted may have changed meanwhile: look again
        started = plugin.start(self._ground, self._book, order, self._news)
        self._plugin = started
        # The order may have changed meanwhile, without a plugin to tell it to.
        self._tell(started, self._order or order)

    def _stop_plugin(self) -> None:
        running = self._plugin
        assert running is not None, "only a running plugin is stopped (steps)"
        clean = running.stop()
        logger.info("plugin_stopped mapping=%s clean=%s", self.record.mapping_id, clean)
        self._book.write(clean=clean)
        self._leave(running)

    def _plugin_died(self, dead: plugin.Plugin) -> None:
        logger.warning(
            "plugin_died mapping=%s incarnation=%s pid=%d",
            self.record.mapping_id,
            dead.incarnation,
            dead.process.ident.pid,
        )
        self._leave(dead)
        now = self._ground.clock.monotonic()
        if now - dead.born_at >= _SHORT_LIFE_S:
            self._restart.reset()
        self._start_again_at = now + self._restart.next_s()

    def _leave(self, ended: plugin.Plugin) -> None:
        self._last_status = ended.status
        self._plugin = None
        ended.leave()
        self._book.write(plugin=None, lock_token="")

    def _keep(self, order: messages.MappingOrder) -> None:
        running = self._plugin
        if running is not None and running.lock_token != self.record.lock_token:
            self._book.write(lock_token=running.lock_token)
        self._device.keep(order)
        status = running.status if running is not None else None
        if order.map is not None and status is not None and status.version >= order.map.version:
            self._device.grow(order, order.map.size)

    def _news(self) -> None:
        self._wake.set()
        self._ground.news()

    def _publish(self, seen: steps.Seen) -> None:
        """Set what ``report`` shows, and have the MDM told if it is news."""
        order, record, running = self._order, self.record, self._plugin
        state = steps.state(order.wanted if order is not None else None, seen, bool(self._problem))
        status = running.status if running is not None else None
        error = self._problem or (status.ended if status and state == "failed" else "")
        if state == "detached":
            last = self._last_status or messages.PluginStatus(record.incarnation)
            self._last_status = dataclasses.replace(
                last, ended=last.ended or "unmapped", clean=record.clean
            )
        shown = messages.MappingReport(
            mapping_id=record.mapping_id,
            state=state,
            incarnation=record.incarnation,
            backend=record.backend,
            backend_reason=record.backend_reason,
            device=record.device.device if record.device is not None else "",
            device_size=self._device.size(),
            link=record.link,
            uri=f"nbd+unix:///?socket={self._book.folder.nbd_socket}" if seen.serving else "",
            error=error,
        )
        if shown != self._shown:
            self._shown = shown
            self._ground.news()

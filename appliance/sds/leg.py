"""One (volume, device): brings it to what the newest order says, and reports what it is.

``legs`` keeps them and calls ``submit``; one thread of its pool works on a leg at a time. Kept
here: an order of a generation below what may be durable is refused (R10), EIO fails the device
(R5), and an error of one leg never reaches another.
"""

import logging
import threading
from dataclasses import replace

from appliance.common import errors, log
from appliance.protocol import messages
from appliance.sds import (
    copy_job,
    data_file,
    devices,
    following,
    leg_state,
    replica_store,
    sealing,
)

logger = logging.getLogger(__name__)


class Leg:
    """Every method may be called from any thread."""

    def __init__(self, volume_id: str, device_id: str, tools: leg_state.Tools) -> None:
        self.volume_id = volume_id
        self.device_id = device_id
        self._tools = tools
        self._state = leg_state.State()
        self._mutex = threading.Lock()  # of what is below, and of every change of _state
        self._pending: messages.LegOrder | None = None
        self._order: messages.LegOrder | None = None
        self._found: devices.Device | None = None
        self._busy = False
        self._retry = False
        self._got_on = False  # the last try did a part, and the next may follow at once
        self._floor = 0  # highest generation that may be durable
        report = self._state.report(volume_id, device_id)
        self._reported: tuple[tuple[object, ...], messages.LegReport]
        self._reported = (self._state, False, None, None), report

    def submit(self, order: messages.LegOrder) -> None:
        """Bring the leg to ``order``, in the pool; an order not yet begun is replaced by it."""
        with self._mutex:
            self._pending = order
            if self._busy:
                return
            self._busy = True
        self._tools.workers.submit(self._work)

    def tick(self, measure: bool, again: bool) -> None:
        """Go on with what is done in parts. ``again``: try what failed for a reason that may have
        passed; ``measure``: look up the space in use of a leg that is served."""
        state = self._state
        failed = self._retry or any(work.broken for work in (state.copy, state.scrub) if work)
        again = (self._retry and self._got_on) or (failed and again)
        with self._mutex:
            order = self._order if again and not self._busy else None
        if order is not None:
            self.submit(order)
        if measure and state.serving and state.data is not None:
            used = state.data.used_bytes()
            with self._mutex:
                self._state = replace(self._state, used_bytes=used)

    def report(self) -> messages.LegReport:
        """What the MDM is told: the same object as long as nothing changed. An SDS has hundreds of
        legs, and looks at all of them for the news of one."""
        state = self._state
        facts = (
            state,
            state.serving,
            state.copy.report if state.copy is not None else None,
            state.scrub.report if state.scrub is not None else None,
        )
        if any(now is not then for now, then in zip(facts, self._reported[0], strict=True)):
            self._reported = facts, state.report(self.volume_id, self.device_id)
        return self._reported[1]

    def open(self, device: devices.Device) -> None:
        """``device`` began to be used: find out what is there. On return it is in the report,
        unless a worker is busy, which then does it next."""
        with self._mutex:
            self._found = device
            if self._busy:
                return
            self._busy = True
        self._work()

    @property
    def gone(self) -> bool:
        """Nothing is left of it, and nothing is ordered."""
        with self._mutex:
            return self._state.deleted and not self._busy

    def lose(self, why: str) -> None:
        """The device may not be used any more: end the leg's processes, report it. No waiting."""
        with self._mutex:
            self._state = replace(self._state, error=why)
        self.kill()
        self._tools.changed()

    def kill(self) -> None:
        """SIGKILL the leg's processes. No waiting."""
        state = self._state
        if state.export is not None:
            state.export.process.kill()
        for work in (state.copy, state.scrub):
            if work is not None:
                work.kill()

    def stop(self) -> None:
        """End the leg's processes and let go of its files, when no worker is at it."""
        leg_state.end_processes(self._state, self._tools)
        if self._state.data is not None:
            self._state.data.close()

    def _work(self) -> None:
        while True:
            with self._mutex:
                found, self._found = self._found, None
                order, self._pending = self._pending, None
                if found is None and order is None:
                    self._busy = False
                    return
                self._order = order or self._order
            try:
                if found is not None:
                    self._reopen(found)
                if order is not None:
                    with log.request(order.request_id or "-"):
                        self._reconcile(order)
            except Exception:  # or the leg would stay busy for ever
                logger.exception("leg_crashed volume=%s", self.volume_id)
            self._tools.changed()

    def _reopen(self, device: devices.Device) -> None:
        self.stop()
        state = leg_state.State(cache_id=device.cache_id)
        try:
            state = self._opened(device)
        except (errors.BasaltError, OSError) as exc:
            logger.warning("leg_refused volume=%s why=%s", self.volume_id, exc)
            state = replace(state, error=str(exc))
        self._set(state)

    def _reconcile(self, order: messages.LegOrder) -> None:
        before = self._state
        try:
            state = self._applied(order)
        except Exception as exc:  # noqa: BLE001 - logged and reported there
            self._failed(order, exc)
            return
        self._set(state)
        self._retry = state.volume is not None and (
            leg_state.needs_allocation(state.volume) or bool(state.volume.leaving)
        )
        self._got_on = state != before
        try:
            self._tools.devices.get(self.device_id, even_failed=state.deleted)
        except errors.BasaltError as exc:  # it was lost while this order was carried out
            self.lose(str(exc))
        if state.generation > before.generation and not state.flushed:
            self._tools.flushers.submit(self._flush, state)

    def _set(self, state: leg_state.State) -> None:
        with self._mutex:
            self._state = state

    def _failed(self, order: messages.LegOrder, exc: Exception) -> None:
        broken = isinstance(exc, errors.DeviceFailed)
        broken |= isinstance(exc, OSError) and exc.errno in copy_job.BROKEN
        again = isinstance(exc, OSError | errors.Unavailable | errors.NotFound)
        self._retry = again and not broken
        self._got_on = False
        why = str(exc)
        if not isinstance(exc, OSError | errors.BasaltError):
            # A bug; the other legs must not suffer from it.
            logger.error("order_crashed volume=%s", self.volume_id, exc_info=exc)
            why = f"unforeseen: {exc!r}"
        if why != self._state.error:
            logger.warning(
                "order_failed volume=%s device=%s generation=%d why=%s",
                self.volume_id,
                self.device_id,
                order.generation,
                why,
            )
        with self._mutex:
            self._state = replace(self._state, error=why)
        if broken:
            self._device_failed(why)

    def _applied(self, order: messages.LegOrder) -> leg_state.State:
        device = self._tools.devices.get(self.device_id, even_failed=order.delete)
        if device.state == "failed":
            return self._given_up(device, order)
        state = self._state
        if state.volume is None:
            state = self._opened(device)
            self._set(state)
        floor = max(self._floor, state.generation)
        if order.generation < floor:
            raise errors.StaleOrder(what="generation", got=order.generation, have=floor)
        site = self._site(device)
        if order.delete:
            return sealing.delete(site, state, order)
        if order.generation == state.generation:
            return following.follow(site, state, order, self._device_failed)
        sealed = sealing.seal(site, state, order, self._written)
        logger.info(
            "sealed volume=%s device=%s generation=%d serving=%s",
            self.volume_id,
            self.device_id,
            sealed.generation,
            sealed.serving,
        )
        return sealed

    def _given_up(self, device: devices.Device, order: messages.LegOrder) -> leg_state.State:
        """Delete from a failed device what can be: it is never used again under its id."""
        try:
            state = self._state if self._state.volume is not None else self._opened(device)
            if order.generation >= max(self._floor, state.generation):
                return sealing.delete(self._site(device), state, order)
        except (OSError, errors.Damaged) as exc:
            logger.warning("not_deleted volume=%s why=%s", self.volume_id, exc)
            return leg_state.State(cache_id=device.cache_id, deleted=True)
        raise errors.StaleOrder(what="generation", got=order.generation, have=state.generation)

    def _site(self, device: devices.Device) -> leg_state.Site:
        return leg_state.Site(
            device=device,
            label=self._tools.devices.label(device.id),
            replica=replica_store.Replica(device.volumes, self.volume_id),
            tools=self._tools,
        )

    def _opened(self, device: devices.Device) -> leg_state.State:
        replica = replica_store.Replica(device.volumes, self.volume_id)
        volume = replica.read()
        if volume is None:
            return leg_state.State(cache_id=device.cache_id)
        sealing.check_ours(volume, self.volume_id, self._tools.devices.label(device.id))
        data = data_file.DataFile(replica.data)
        return leg_state.State(
            cache_id=device.cache_id,
            volume=volume,
            data=data,
            intents=tuple(replica.intents()),
            used_bytes=data.used_bytes(),
        )

    def _written(self, generation: int) -> None:
        self._floor = max(self._floor, generation)

    def _flush(self, sealed: leg_state.State) -> None:
        """After every seal: what the servers before left in the cache, and its errors (R5)."""
        if sealed.data is None or self._state.generation != sealed.generation:
            return
        try:
            sealed.data.sync()
        except errors.DeviceFailed as exc:
            self._device_failed(str(exc))
            return
        except errors.Unavailable:  # closed meanwhile
            return
        with self._mutex:
            if self._state.generation == sealed.generation:
                self._state = replace(self._state, flushed=True)
        self._tools.changed()

    def _device_failed(self, why: str) -> None:
        try:
            device = self._tools.devices.get(self.device_id)
        except errors.BasaltError:  # it failed, or went, before
            return
        self._tools.devices.fail(device, why)

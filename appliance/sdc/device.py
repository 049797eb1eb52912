"""The block device of one mapping and its stable link. Every method may block on the device."""

import logging
from pathlib import Path

from appliance.common import errors
from appliance.protocol import messages
from appliance.sdc import ground, links, records, steps
from appliance.sdc.attach import choose, interface

#: What /sys counts a block device's size in, whatever its block size.
_SECTOR_BYTES = 512

logger = logging.getLogger(__name__)


class Device:
    """Used by the mapping's thread only. What is in place stands in the mapping's record."""

    def __init__(self, on: ground.Ground, book: records.Book) -> None:
        self._ground = on
        self._book = book

    def seen(self, plugin_runs: bool) -> steps.Device:
        record = self._book.record
        if record.device is None:
            return steps.Device.NONE
        if not plugin_runs or record.device.incarnation != record.incarnation:
            return steps.Device.STALE
        fault = self._backend.fault(record.device)
        return steps.Device.STALE if fault else steps.Device.BOUND

    def size(self) -> int:
        """Bytes that the block device shows now; 0 without one, or while it is on its way out."""
        record = self._book.record
        if record.device is None or not record.device.device:
            return 0
        sectors = Path("/sys/class/block", Path(record.device.device).name, "size")
        try:
            return int(sectors.read_text(encoding="ascii")) * _SECTOR_BYTES
        except OSError:
            return 0

    def attach(self, order: messages.MappingOrder) -> None:
        """Choose the backend, once per mapping, and make the device."""
        if not self._book.record.backend:
            wanted = order.backend if order.backend != choose.AUTO else self._ground.cfg.backend
            name, reason = choose.choose(wanted, self._ground.probes)
            self._book.write(backend=name, backend_reason=reason)
        self._hold(self._backend.attach(self._target(order)), order)

    def renew(self, order: messages.MappingOrder) -> None:
        """Bind the device to the new plugin. Raises errors.Conflict, saying what to do."""
        held = self._held
        try:
            renewed = self._backend.renew(held, self._target(order))
        except errors.InUse as exc:
            raise errors.Conflict(
                why=f"the process behind {held.device} died, and the device gives I/O errors until "
                f"it is replaced, which happens by itself once it is free: {exc}"
            ) from exc
        self._hold(renewed, order)

    def keep(self, order: messages.MappingOrder) -> None:
        """Keep the link right, for the volume may be renamed and the link be lost."""
        record = self._book.record
        if record.device is None or not record.device.device:
            return
        link = links.put(self._ground.cfg.link_dir, order.volume_name, record.device.device)
        if link != record.link:
            links.drop(record.link, record.device.device)
            self._book.write(link=link, volume_name=order.volume_name)

    def grow(self, order: messages.MappingOrder, size: int) -> None:
        """``size``: what the plugin serves. A volume never becomes smaller."""
        if 0 < self.size() < size:
            self._backend.grow(self._held, self._target(order), size)

    def detach(self, force: bool, flush: bool) -> None:
        """Raises errors.InUse if somebody uses it, errors.DeviceFailed if its flush fails."""
        held = self._held
        self._backend.detach(held, flush=flush, force=force)
        links.drop(self._book.record.link, held.device)
        self._book.write(device=None, link="")
        logger.info("detached mapping=%s device=%s", self._book.record.mapping_id, held.device)

    @property
    def _held(self) -> interface.Attached:
        held = self._book.record.device
        assert held is not None, "asked for only when there is one (steps)"
        return held

    @property
    def _backend(self) -> interface.Backend:
        return self._ground.backends[self._book.record.backend]

    def _target(self, order: messages.MappingOrder) -> interface.Target:
        return interface.Target(
            mapping_id=order.mapping_id,
            volume_name=order.volume_name,
            incarnation=self._book.record.incarnation,
            socket=self._book.folder.nbd_socket,
            folder=self._book.folder.path,
            read_only=order.read_only,
        )

    def _hold(self, held: interface.Attached, order: messages.MappingOrder) -> None:
        self._book.write(device=held)
        logger.info(
            "attached mapping=%s volume=%s backend=%s device=%s",
            order.mapping_id,
            order.volume_name,
            self._book.record.backend,
            held.device,
        )
        self.keep(order)

"""The devices of this SDS: adopting what was ordered, watching what is there.

Called from the agent's loop only, except ``get`` and ``fail``, which any thread may call.
"""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from appliance.common import durable, errors
from appliance.disk import records
from appliance.protocol import messages, record_file
from appliance.sds import adoption, ballast, cache, probe, registry

logger = logging.getLogger(__name__)


class Device:
    """One directory. ``state`` is that of messages.DeviceReport, or ``new`` before the first
    look. While it is ok ``cache_id`` is set and its file system stays busy."""

    def __init__(self, device_id: str, path: Path) -> None:
        self.id = device_id
        self.path = path
        self.state = "new"
        self.reason = ""
        self.cache_id = ""
        self._ballast: ballast.Ballast | None = None
        self._probe: probe.Probe | None = None
        self.capacity = 0
        self.free = 0
        self._fd = -1
        self._root = (0, 0)
        self._place: messages.Place | None = None

    @property
    def volumes(self) -> Path:
        return self.path / adoption.VOLUMES

    def open(self, boot_id: str, ballast_bytes: int) -> None:
        """Begin to use the adopted directory. Raises OSError."""
        self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        found = os.fstat(self._fd)
        self._root = (found.st_dev, found.st_ino)
        self.cache_id = cache.ident(self._fd, boot_id)
        self.measure()
        # A small device must not be eaten by its ballast.
        size = min(ballast_bytes, self.capacity // 16)
        self._ballast = ballast.Ballast(self.path / adoption.BALLAST, size)
        self.restore_ballast()
        self._probe = probe.Probe(self.path)
        self._probe.start()

    def restore_ballast(self) -> None:
        """Take back what was given up, as far as there is room."""
        if self._ballast is not None:
            self._ballast.restore()

    def metadata(self, write: Callable[[], None]) -> None:
        """Call ``write``, giving up ballast as long as it finds the device full.

        It must bear being called again after an OSError, and the last one is raised.
        """
        if self._ballast is None:
            write()
        else:
            self._ballast.write(write)

    def measure(self) -> None:
        """Look at capacity, free space, and whether it is still the same directory."""
        found = self.path.stat()
        if (found.st_dev, found.st_ino) != self._root:
            raise adoption.Missing(
                why=f"another file system was mounted over {self.path}; unmount it"
            )
        space = os.fstatvfs(self._fd)
        self.capacity = space.f_blocks * space.f_frsize
        self.free = space.f_bavail * space.f_frsize

    def close(self) -> None:
        if self._probe is not None:
            self._probe.stop()
            self._probe = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def report(self) -> messages.DeviceReport:
        return messages.DeviceReport(
            device_id=self.id,
            state="missing" if self.state == "new" else self.state,
            reason=self.reason,
            capacity_bytes=self.capacity,
            free_bytes=self.free,
            cache_id=self.cache_id,
            path=str(self.path),
            sync_s=round(self._probe.seconds, 3) if self._probe is not None else 0.0,
        )

    def keep(self, place: messages.Place) -> None:
        """Have ``place`` in the device, durably, for the day the MDM's database is lost."""
        if self._place != place:
            file = self.path / records.PLACE
            self.metadata(lambda: durable.replace_file(file, record_file.to_bytes(place)))
            self._place = place


class Devices:
    """All of them. ``on_open`` is called with each device that begins to be used, ``on_lost``
    with each that may not be used now, ``on_gone`` with each that was given back."""

    def __init__(
        self,
        store: registry.Registry,
        boot_id: str,
        ballast_bytes: int,
        on_open: Callable[[Device], None],
        on_lost: Callable[[Device], None],
        on_gone: Callable[[Device], None],
    ) -> None:
        self._store = store
        self._boot_id = boot_id
        self._ballast_bytes = ballast_bytes
        self._on_open = on_open
        self._on_lost = on_lost
        self._on_gone = on_gone
        self._mutex = threading.Lock()
        self._devices = {
            device_id: Device(device_id, Path(known.path))
            for device_id, known in store.devices().items()
        }

    def get(self, device_id: str, even_failed: bool = False) -> Device:
        """The device, which is ok (or failed). Raises errors.NotFound or errors.Unavailable."""
        with self._mutex:
            device = self._devices.get(device_id)
        if device is None:
            raise errors.NotFound(kind="device", key=device_id)
        if device.state != "ok" and not (even_failed and device.state == "failed"):
            raise errors.Unavailable(why=f"device {device.path} is {device.state}: {device.reason}")
        return device

    def reports(self) -> tuple[messages.DeviceReport, ...]:
        with self._mutex:
            devices = list(self._devices.values())
        return tuple(device.report() for device in devices)

    def apply(self, orders: Sequence[messages.DeviceOrder]) -> bool:
        """Take on new devices, give back unwanted ones. Whether anything changed.

        A device that is in no order any more is dropped, unless it was adopted: what may hold
        data is given up by an explicit order only.
        """
        known = self._store.devices()
        wanted = {order.device_id: order for order in orders}
        changed = False
        for order in orders:
            with self._mutex:
                device = self._devices.get(order.device_id)
                if device is None and order.wanted:
                    self._devices[order.device_id] = Device(order.device_id, Path(order.path))
                    changed = True
            if device is not None and not order.wanted:
                changed |= self._give_back(device)
            elif device is not None and device.state == "ok":
                device.reason = ""  # why it was not given back, when that was wanted
        for device_id in [key for key in self._devices if key not in wanted and key not in known]:
            self._drop(device_id)
            changed = True
        if changed:
            self.refresh()
        for order in orders:
            self._keep_place(order)
        return changed

    def refresh(self) -> bool:
        """Look at every device; true if the state of any changed."""
        changed = False
        for device in list(self._devices.values()):
            before = (device.state, device.reason)
            try:
                self._refresh(device)
            except (errors.BasaltError, OSError) as exc:
                self._set_lost(device, exc)
            changed |= (device.state, device.reason) != before
        return changed

    def fail(self, device: Device, why: str) -> None:
        """The device said EIO: for ever out of use under this id (R5)."""
        logger.error("device_failed device=%s path=%s why=%s", device.id, device.path, why)
        device.state, device.reason = "failed", why
        self._store.save_device(device.id, registry.KnownDevice(str(device.path), failed=why))
        self._on_lost(device)

    def label(self, device_id: str) -> adoption.Label:
        identity = self._store.identity
        if identity is None:
            raise errors.Unavailable(why="this SDS is not registered yet")
        return adoption.Label(identity.cluster_id, identity.id, device_id)

    def _refresh(self, device: Device) -> None:
        if device.state == "ok":
            device.measure()
            device.restore_ballast()
            return
        known = self._store.devices().get(device.id)
        if known is not None and known.failed:
            device.state, device.reason = "failed", known.failed
            return
        adoption.adopt(device.path, self.label(device.id), known is not None)
        self._store.save_device(device.id, registry.KnownDevice(str(device.path)))
        device.open(self._boot_id, self._ballast_bytes)
        device.state, device.reason = "ok", ""
        logger.info("device_ok device=%s path=%s", device.id, device.path)
        self._on_open(device)

    def _set_lost(self, device: Device, exc: Exception) -> None:
        state = "refused" if isinstance(exc, adoption.Refused) else "missing"
        if (device.state, device.reason) == (state, str(exc)):
            return
        was_ok = device.state == "ok"
        device.state, device.reason = state, str(exc)
        logger.warning("device_%s device=%s why=%s", state, device.id, exc)
        device.close()
        if was_ok:
            self._on_lost(device)

    def _give_back(self, device: Device) -> bool:
        try:
            if device.state == "ok":
                adoption.give_back(device.path, self.label(device.id))
        except (errors.BasaltError, OSError) as exc:
            changed = device.reason != str(exc)
            device.reason = str(exc)
            return changed
        self._on_gone(device)
        device.close()
        self._drop(device.id)
        logger.info("device_given_back device=%s path=%s", device.id, device.path)
        return True

    def _keep_place(self, order: messages.DeviceOrder) -> None:
        device = self._devices.get(order.device_id)
        if device is None or device.state != "ok" or order.place is None or not order.wanted:
            return
        try:
            device.keep(order.place)
        except OSError as exc:  # only recovery needs it; the next order tries again
            logger.warning("place_not_kept device=%s why=%s", device.id, exc)

    def _drop(self, device_id: str) -> None:
        self._store.forget_device(device_id)
        with self._mutex:
            self._devices.pop(device_id, None)

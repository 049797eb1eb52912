"""What an SDS remembers in its own data folder: who it is, its devices, the highest term seen.

A device that was adopted once is never adopted anew, so that an empty mount point after a
reboot is "missing" and not a fresh device.
"""

import threading
from dataclasses import dataclass, field
from pathlib import Path

from appliance.agent import identity
from appliance.common import durable
from appliance.protocol import record_file


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """``failed``: why it may never be used again under this id (R5); empty while it is well."""

    path: str
    failed: str = ""


@dataclass(frozen=True, slots=True)
class _Devices:
    devices: dict[str, KnownDevice] = field(default_factory=dict)


class Registry(identity.Store):
    """``data_dir``, held by this process alone. Every change is durable on return. Thread-safe.

    Raises what identity.Store raises.
    """

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir, "sds")
        self._mutex = threading.Lock()
        try:
            self._devices = self._read_devices()
        except BaseException:
            self.close()
            raise

    def devices(self) -> dict[str, KnownDevice]:
        with self._mutex:
            return dict(self._devices)

    def save_device(self, device_id: str, known: KnownDevice) -> None:
        with self._mutex:
            if self._devices.get(device_id) != known:
                self._write({**self._devices, device_id: known})

    def forget_device(self, device_id: str) -> None:
        with self._mutex:
            if device_id in self._devices:
                self._write({key: dev for key, dev in self._devices.items() if key != device_id})

    def _write(self, devices: dict[str, KnownDevice]) -> None:
        data = record_file.to_bytes(_Devices(devices))
        durable.replace_file(self._dir / "devices.json", data)
        self._devices = devices

    def _read_devices(self) -> dict[str, KnownDevice]:
        try:
            return dict(record_file.read(self._dir / "devices.json", _Devices).devices)
        except FileNotFoundError:
            return {}

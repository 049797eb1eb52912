"""What an SDS remembers in its own data folder: who it is, its devices, the highest term seen.

A device that was adopted once is never adopted anew, so that an empty mount point after a
reboot is "missing" and not a fresh device.
"""

import fcntl
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

from appliance.common import errors
from appliance.sds import durable


@dataclass(frozen=True, slots=True)
class Identity:
    """What registration gave; ``secret`` is the agent's token."""

    id: str
    secret: str
    cluster_id: str


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """``failed``: why it may never be used again under this id (R5); empty while it is well."""

    path: str
    failed: str = ""


@dataclass(frozen=True, slots=True)
class _Devices:
    devices: dict[str, KnownDevice] = field(default_factory=dict)


class Registry:
    """``data_dir``, held by this process alone. Every change is durable on return. Thread-safe.

    Raises errors.Conflict if another agent works on ``data_dir``, Damaged for unreadable files.
    """

    def __init__(self, data_dir: Path) -> None:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._dir = data_dir
        self._lock_fd = hold_alone(data_dir)
        self._mutex = threading.Lock()
        self.identity = self._read_identity()
        self.term = self._read_term()
        self._devices = self._read_devices()

    def close(self) -> None:
        os.close(self._lock_fd)

    def save_identity(self, identity: Identity) -> None:
        durable.replace_file(self._dir / "identity.json", durable.record_bytes(identity))
        self.identity = identity

    def save_term(self, term: int) -> None:
        """Remember that orders of ``term`` were seen: lower ones are refused for ever (R10)."""
        durable.replace_file(self._dir / "term", f"{term}\n".encode())
        self.term = term

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
        data = durable.record_bytes(_Devices(devices))
        durable.replace_file(self._dir / "devices.json", data)
        self._devices = devices

    def _read_identity(self) -> Identity | None:
        try:
            return durable.read_record(self._dir / "identity.json", Identity)
        except FileNotFoundError:
            return None

    def _read_term(self) -> int:
        path = self._dir / "term"
        try:
            return int(path.read_text(encoding="ascii"))
        except FileNotFoundError:
            return 0
        except ValueError as exc:
            raise errors.Damaged(path=path, why="it does not hold a number") from exc

    def _read_devices(self) -> dict[str, KnownDevice]:
        try:
            return dict(durable.read_record(self._dir / "devices.json", _Devices).devices)
        except FileNotFoundError:
            return {}


def hold_alone(folder: Path) -> int:
    """A descriptor that keeps every other agent from ``folder`` until it is closed."""
    fd = os.open(folder / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        os.close(fd)
        raise errors.Conflict(
            why=f"another SDS agent works on {folder}; stop it, or give this one another folder"
        ) from exc
    return fd

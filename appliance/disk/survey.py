"""Reads what device folders hold, and changes nothing: used when there is no MDM to ask.

The folders may be the devices themselves, copies of them, or copies of the small files alone
(``data`` is then not there, which is enough to recover the MDM).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from appliance.common import errors
from appliance.disk import records
from appliance.domain import intents
from appliance.protocol import messages, record_file


@dataclass(frozen=True, slots=True)
class Copy:
    """One volume's part on one device. ``marks``: content of each intent file, by incarnation."""

    folder: Path
    device: Path
    device_id: str
    volume: records.VolumeFile
    marks: dict[str, bytes] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.folder / records.DATA

    @property
    def dirty(self) -> frozenset[int]:
        """Regions in which other copies may differ from this one (R3)."""
        return frozenset(intents.dirty_regions(intents.union(*self.marks.values())))


@dataclass(frozen=True, slots=True)
class Device:
    """``place`` is None if the MDM never told it."""

    path: Path
    label: records.Label
    place: messages.Place | None


@dataclass(frozen=True, slots=True)
class Survey:
    """``damaged``: what could not be read, in words; it counts as not there."""

    cluster_id: str
    devices: tuple[Device, ...]
    copies: tuple[Copy, ...]
    damaged: tuple[str, ...] = ()

    def volumes(self) -> dict[str, list[Copy]]:
        """Copies by volume id."""
        found: dict[str, list[Copy]] = {}
        for copy in self.copies:
            found.setdefault(copy.volume.id, []).append(copy)
        return found


def look(folders: Iterable[Path]) -> Survey:
    """What is in ``folders``. Raises errors.NotFound for one that is no device, errors.Conflict
    for devices of several clusters or the same one twice, errors.Damaged, OSError."""
    devices = [_device(folder) for folder in folders]
    if not devices:
        raise errors.Invalid(what="--from", why="name at least one device's folder")
    _check_belong(devices)
    copies: list[Copy] = []
    damaged: list[str] = []
    for device in devices:
        _look_into(device, copies, damaged)
    return Survey(devices[0].label.cluster_id, tuple(devices), tuple(copies), tuple(damaged))


def _device(folder: Path) -> Device:
    try:
        label = record_file.read(folder / records.LABEL, records.Label)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise errors.NotFound(kind=f"device of Basalt (no {records.LABEL}) at", key=folder) from exc
    if label.format != 1:
        raise errors.Conflict(
            why=f"{folder} was written by another release of Basalt (format {label.format})"
        )
    try:
        place = record_file.read(folder / records.PLACE, messages.Place)
    except FileNotFoundError:
        place = None
    return Device(folder, label, place)


def _check_belong(devices: list[Device]) -> None:
    first = devices[0]
    seen: dict[str, Path] = {}
    for device in devices:
        if device.label.cluster_id != first.label.cluster_id:
            raise errors.Conflict(
                why=f"{device.path} is a device of cluster {device.label.cluster_id}, "
                f"{first.path} of cluster {first.label.cluster_id}; give those of one cluster only"
            )
        other = seen.get(device.label.device_id)
        seen[device.label.device_id] = device.path
        if other is not None:
            raise errors.Conflict(
                why=f"{device.path} and {other} are the same device "
                f"({device.label.device_id}); give it once, the newer copy"
            )


def _look_into(device: Device, copies: list[Copy], damaged: list[str]) -> None:
    volumes = device.path / records.VOLUMES
    if not volumes.is_dir():
        return
    for folder in sorted(volumes.iterdir()):
        if not records.is_id(folder.name) or not folder.is_dir():
            continue  # half made or half deleted
        try:
            copies.append(_copy(device, folder))
        except FileNotFoundError:
            damaged.append(f"{folder} has no {records.VOLUME}")
        except (errors.Damaged, OSError) as exc:
            damaged.append(str(exc))


def _copy(device: Device, folder: Path) -> Copy:
    volume = record_file.read(folder / records.VOLUME, records.VolumeFile)
    found = (volume.id, volume.device_id, volume.cluster_id)
    if found != (folder.name, device.label.device_id, device.label.cluster_id):
        raise errors.Damaged(
            path=folder / records.VOLUME,
            why=f"it is of volume {volume.id} on device {volume.device_id} of cluster "
            f"{volume.cluster_id}, which is not where it lies",
        )
    if len(volume.chart.columns) != volume.ncols or volume.ncols < 1:
        raise errors.Damaged(path=folder / records.VOLUME, why="it does not hold the whole map")
    names = [records.INTENT + incarnation for incarnation in records.intents(folder)]
    if (folder / records.JOIN).exists():
        names.append(records.JOIN)
    marks = {n.removeprefix(records.INTENT): (folder / n).read_bytes() for n in names}
    return Copy(folder, device.path, device.label.device_id, volume, marks)

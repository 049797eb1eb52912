"""The files of a device that say whose it is and what it holds. The SDS writes them; recovery
reads them when there is nobody left to ask.

    <device>/basalt.json   Label: whose device this is; written once
    <device>/place.json    messages.Place: its SDS, pool, domain and fault set, as the MDM last said
    <device>/volumes/<id>/volume.json   VolumeFile, beside data, sums, lock and the intent files
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from appliance.protocol import messages

LABEL = "basalt.json"
PLACE = "place.json"
VOLUMES = "volumes"
BALLAST = "ballast"

VOLUME = "volume.json"
DATA = "data"
SUMS = "sums"
LOCK = "lock"
INTENT = "intent."

#: The union of marks that a copy going on works by (R8); no client writes it.
JOIN = INTENT + "join"

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class Label:
    """``basalt.json``: whose device a directory is."""

    cluster_id: str
    sds_id: str
    device_id: str
    format: int = 1


@dataclass(frozen=True, slots=True)
class VolumeFile:
    """``volume.json``. ``generation`` is durable before any process of it starts (R4).

    ``created`` is the generation that made the files, zeroes all. ``allocated_bytes``: own units
    below it are allocated (thick). ``chart`` is for the day the MDM's database is lost.
    ``leaving``: columns that moved elsewhere, whose space is still to be given back.
    """

    id: str
    name: str
    cluster_id: str
    device_id: str
    size: int
    unit: int
    ncols: int
    thin: bool
    columns: tuple[messages.OwnColumn, ...]
    generation: int
    created: int
    allocated_bytes: int = 0
    chart: messages.Chart = field(default_factory=messages.Chart)
    leaving: tuple[int, ...] = ()

    @property
    def own(self) -> frozenset[int]:
        return frozenset(column.index for column in self.columns)


def is_id(text: str) -> bool:
    """Whether ``text`` may be part of a file's name on a device."""
    return _ID.fullmatch(text) is not None and text != JOIN.removeprefix(INTENT)


def intents(folder: Path) -> list[str]:
    """Incarnations that have an intent file in the volume's folder."""
    return sorted(
        file.name.removeprefix(INTENT)
        for file in folder.iterdir()
        if file.name.startswith(INTENT) and is_id(file.name.removeprefix(INTENT))
    )

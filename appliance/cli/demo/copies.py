"""Whether both copies of a volume on this host's disks are the same, byte for byte.

Reads the SDSs' files (offset is offset everywhere); the volume must be at rest.
"""

import os
from pathlib import Path
from typing import Any

from appliance.domain import layout, model


def differences(volume: dict[str, Any]) -> list[str]:
    """What differs between the copies of ``volume`` (as ``basalt volume show --json`` says it)."""
    found = []
    for column in range(volume["columns"]):
        paths = [
            Path(replica["device_path"]) / "volumes" / volume["id"] / "data"
            for replica in volume["replicas"]
            if replica["column"] == column
        ]
        extents = layout.own_extents(
            frozenset({column}), volume["columns"], volume["size_bytes"], model.UNIT_BYTES
        )
        for offset in _different(paths, list(extents)):
            found.append(f"column {column}, offset {offset}: {' and '.join(map(str, paths))}")
    return found


def _different(paths: list[Path], extents: list[tuple[int, int]]) -> list[int]:
    """Offsets of the units in which the files at ``paths`` differ."""
    fds = [os.open(path, os.O_RDONLY) for path in paths]
    try:
        return [
            offset
            for start, length in extents
            for offset in range(start, start + length, model.UNIT_BYTES)
            if any(_has_data(fd, offset) for fd in fds)
            and len({os.pread(fd, model.UNIT_BYTES, offset) for fd in fds}) > 1
        ]
    finally:
        for fd in fds:
            os.close(fd)


def _has_data(fd: int, offset: int) -> bool:
    """Whether the unit at ``offset`` is more than a hole (lseek(2), SEEK_DATA)."""
    try:
        return os.lseek(fd, offset, os.SEEK_DATA) < offset + model.UNIT_BYTES
    except OSError:  # ENXIO: holes up to the end
        return False

"""What a restarted agent must know of each mapping, in ``run_dir/<mapping id>/state.json``.

It names processes and a block device, so it is good for one boot of the host only.
"""

import dataclasses
import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.common import durable, errors
from appliance.protocol import record_file
from appliance.sdc import processes
from appliance.sdc.attach import interface

logger = logging.getLogger(__name__)

_FILE = "state.json"


@dataclass(frozen=True, slots=True)
class Record:
    """``plugin`` is None while ``incarnation`` is being started. ``detached``: nothing is left,
    and ``clean`` says how it ended."""

    mapping_id: str
    volume_id: str
    volume_name: str
    read_only: bool
    boot_id: str
    incarnation: str = ""
    plugin: processes.Ident | None = None
    lock_token: str = ""
    backend: str = ""
    backend_reason: str = ""
    device: interface.Attached | None = None
    link: str = ""
    detached: bool = False
    clean: bool = False


class Folder:
    """The folder of one mapping: its record and its sockets."""

    def __init__(self, run_dir: Path, mapping_id: str) -> None:
        self.path = run_dir / mapping_id
        self.nbd_socket = self.path / "nbd.sock"
        self.link_socket = self.path / "link.sock"

    def make(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def save(self, record: Record) -> None:
        """Atomic. Not synced: after a crash of the host the record is worth nothing."""
        self.make()
        durable.replace_file(self.path / _FILE, record_file.to_bytes(record), sync=False)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


class Book:
    """A mapping's record, on disk after every change. Changed by the mapping's thread only."""

    def __init__(self, run_dir: Path, record: Record) -> None:
        self.record = record
        self.folder = Folder(run_dir, record.mapping_id)

    def write(self, **changes: Any) -> None:
        """Set fields of the record. Raises OSError; then nothing has changed."""
        record = dataclasses.replace(self.record, **changes)
        self.folder.save(record)
        self.record = record


def load_all(run_dir: Path, boot_id: str) -> Iterator[Record]:
    """Records of this boot. Others, and ones that cannot be read, are passed over."""
    if not run_dir.is_dir():
        return
    for file in sorted(run_dir.glob(f"*/{_FILE}")):
        try:
            record = record_file.read(file, Record)
        except (OSError, errors.Damaged) as exc:
            logger.warning("record_unreadable file=%s why=%s", file, exc)
            continue
        if record.boot_id == boot_id and record.mapping_id == file.parent.name:
            yield record

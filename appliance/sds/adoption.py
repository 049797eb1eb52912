"""Whose directory is this? A device is adopted only if it is empty, or ours already.

Called by ``devices`` at each start and for each new order. Never removes a stranger's file.
"""

import contextlib
import errno
import os
import secrets
from pathlib import Path

from appliance.common import durable, errors
from appliance.disk import records
from appliance.protocol import record_file
from appliance.sds import allocation

LABEL = records.LABEL
VOLUMES = records.VOLUMES
BALLAST = records.BALLAST
PROBE = "probe"

Label = records.Label

#: What mkfs leaves in a new file system; anything else makes a directory "not empty".
_IGNORED = frozenset({"lost+found"})


class Missing(errors.Unavailable):
    """The directory, or what was in it, is not there now."""

    code = "device_missing"


class Refused(errors.Conflict):
    """The directory must not be used; nothing in it was changed."""

    code = "device_refused"


def adopt(path: Path, label: Label, known: bool) -> None:
    """Make ``path`` the device of ``label``, durably, or find that it is already.

    ``known`` says that it was adopted before: then an empty directory is a file system that is
    not mounted. Raises Missing or Refused with a sentence for a person.
    """
    if not path.is_absolute() or os.path.normpath(path) != str(path):
        raise Refused(why=f"{path} is not an absolute, normalized path")
    try:
        found = _label(path)
        if found is None:
            if known:
                raise Missing(
                    why=f"{path} has no {LABEL} any more: is its file system mounted? "
                    "A device that was adopted once is not adopted again"
                )
            _check_empty(path)
            _check_able(path)
            _write_label(path, label)
            found = _label(path)
    except NotADirectoryError as exc:
        raise Refused(why=f"{path} is not a directory") from exc
    except FileNotFoundError as exc:
        raise Missing(why=f"{path} does not exist: create it, or mount its file system") from exc
    except PermissionError as exc:
        raise Refused(why=f"{path} may not be used: {exc.strerror}") from exc
    _check_ours(path, found, label)
    (path / VOLUMES).mkdir(mode=0o700, exist_ok=True)
    durable.sync_dir(path)


def give_back(path: Path, label: Label) -> None:
    """Take our own marks off an empty device. Raises errors.InUse while it holds a volume."""
    if _label(path) != label:
        return
    volumes = path / VOLUMES
    held = sorted(entry.name for entry in os.scandir(volumes)) if volumes.is_dir() else []
    if held:
        raise errors.InUse(kind="device", key=path, why=f"it holds {', '.join(held[:5])}")
    if volumes.is_dir():
        volumes.rmdir()
    for own in (BALLAST, PROBE, records.PLACE):
        (path / own).unlink(missing_ok=True)
    (path / LABEL).unlink()
    durable.sync_dir(path)


def _label(path: Path) -> Label | None:
    if not path.is_dir():
        # Tell "not there" from "no directory".
        raise NotADirectoryError(path) if path.exists() else FileNotFoundError(path)
    try:
        return record_file.read(path / LABEL, Label)
    except FileNotFoundError:
        return None
    except errors.Damaged as exc:
        raise Refused(why=str(exc)) from exc


def _check_ours(path: Path, found: Label | None, wanted: Label) -> None:
    if found is None or found.format != wanted.format:
        raise Refused(why=f"{path} was written by another release of Basalt; it is left as it is")
    if found.cluster_id != wanted.cluster_id:
        raise Refused(
            why=f"{path} belongs to another Basalt cluster ({found.cluster_id}); "
            "give an empty directory"
        )
    if found.sds_id != wanted.sds_id:
        raise Refused(
            why=f"{path} belongs to another SDS of this cluster ({found.sds_id}); "
            "give an empty directory"
        )
    if found.device_id != wanted.device_id:
        raise Refused(
            why=f"{path} is another device of this SDS already ({found.device_id}); "
            "give an empty directory"
        )


def _check_empty(path: Path) -> None:
    names = sorted({entry.name for entry in path.iterdir()} - _IGNORED)
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise Refused(
            why=f"{path} is not empty: it has {', '.join(names[:3])}{more}. "
            "Give an empty directory, or empty this one yourself"
        )


def _check_able(path: Path) -> None:
    """The file system must be able to do what replicas need: holes, unnamed files, fsync."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(fd, secrets.token_bytes(8192), 0)
            allocation.punch_hole(fd, 0, 4096)
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Refused(why=f"{path} has no free space") from exc
        raise Refused(
            why=f"the file system of {path} will not do ({exc.strerror}); use XFS, ext4 or btrfs"
        ) from exc


def _write_label(path: Path, label: Label) -> None:
    # Should another agent be quicker, its label decides.
    with contextlib.suppress(FileExistsError):
        durable.create_file(path / LABEL, record_file.to_bytes(label))

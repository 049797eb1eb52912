"""The stable name of a block device: a symbolic link named after the volume."""

import contextlib
import logging
import os
from pathlib import Path

from appliance.common import errors

logger = logging.getLogger(__name__)


def put(folder: Path, name: str, device: str) -> str:
    """Let ``folder/name`` point at ``device``, atomically; returns its path.

    A link that does already is left alone: it may be udev's, who writes it another way. Raises
    errors.Conflict rather than replace anything but a link.
    """
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / name
    if not link.is_symlink() and link.exists():
        raise errors.Conflict(why=f"{link} exists and is no link; move it away")
    if _target(link) == device:
        return str(link)
    temporary = folder / f".{name}.new"
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    temporary.symlink_to(device)
    temporary.rename(link)
    return str(link)


def drop(path: str, device: str) -> None:
    """Remove the link at ``path`` if it still points at ``device``."""
    with contextlib.suppress(OSError):
        if path and _target(Path(path)) == device:
            Path(path).unlink()


def _target(link: Path) -> str:
    """The path that ``link`` gives, made absolute; empty if there is none."""
    try:
        return os.path.normpath(link.parent / link.readlink())
    except OSError:
        return ""

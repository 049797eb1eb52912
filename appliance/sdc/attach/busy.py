"""Who uses a block device. Asked before one is taken away, so that nothing is torn down under
a file system. The kernel's answer is an exclusive open; the rest finds words for it."""

import errno
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.common import errors

#: Programs that only look at new devices (udev, blkid) let go of them in this time.
_PASSING_S = 1.0
_PAUSE_S = 0.05


@contextmanager
def exclusive(device: str) -> Iterator[int]:
    """A descriptor of ``device`` that keeps others from mounting it or building on it.

    Raises errors.InUse, which says who uses it and what to do; a plain open by another program
    counts as use too.
    """
    fd = _opened(device)
    try:
        yield fd
    finally:
        os.close(fd)


def flush(device: str, fd: int) -> None:
    """Make what was written to ``device``, open as ``fd``, safe. Raises errors.DeviceFailed.

    The last one who closed it had its pages written; this proves it.
    """
    try:
        os.fsync(fd)
    except OSError as exc:
        raise errors.DeviceFailed(
            device=device,
            why=f"its last flush failed ({exc.strerror}), so it is not detached; to give up "
            "what is not yet written, unmap it with --force",
        ) from exc


def mountpoints(device: str) -> list[str]:
    """Where this mount namespace has ``device`` mounted."""
    number = Path(device).stat().st_rdev
    wanted = f"{os.major(number)}:{os.minor(number)}"
    return [point for found, point, _kind in mounts() if found == wanted]


def mounts() -> Iterator[tuple[str, str, str]]:
    """(major:minor, mount point, file system type) of each line of mountinfo (proc(5))."""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields, _, rest = line.partition(" - ")
        words = fields.split()
        yield words[2], unescaped(words[4]), rest.split()[0]


def holders(device: str) -> list[str]:
    """Block devices built on ``device`` (device mapper, RAID)."""
    folder = Path("/sys/block", Path(device).name, "holders")
    return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []


def openers(device: str) -> list[tuple[int, str]]:
    """(pid, name) of the processes, but this one, that have ``device`` open."""
    number = Path(device).stat().st_rdev
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid() and _opens(entry, number):
            found.append((int(entry.name), _name(entry)))
    return found


def _opened(device: str) -> int:
    """Tried for a while: an unmount, too, has its device a moment longer than its mount point."""
    deadline = time.monotonic() + _PASSING_S
    while True:
        if not openers(device):
            try:
                return os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC)
            except OSError as exc:
                if exc.errno != errno.EBUSY:
                    raise
        if time.monotonic() > deadline or mountpoints(device) or holders(device):
            raise _in_use(device)
        time.sleep(_PAUSE_S)


def _opens(process: Path, number: int) -> bool:
    try:
        links = list((process / "fd").iterdir())
    except OSError:  # the process is gone
        return False
    return any(_is_device(link, number) for link in links)


def _is_device(link: Path, number: int) -> bool:
    try:
        # A path first: stat of a file on a file system that hangs would hang too.
        if not str(link.readlink()).startswith("/dev/"):
            return False
        seen = link.stat()
    except OSError:  # this descriptor is closed; the process's others count all the same
        return False
    return stat.S_ISBLK(seen.st_mode) and seen.st_rdev == number


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "?"


def _in_use(device: str) -> errors.InUse:
    points = mountpoints(device)
    above = holders(device)
    users = openers(device)
    if points:
        why = f"it is mounted at {', '.join(points)}; unmount it first"
    elif above:
        why = f"{', '.join(above)} is built on it; take that down first"
    elif users:
        who = ", ".join(f"{name} (pid {pid})" for pid, name in users)
        why = f"it is open in {who}; end that first"
    else:
        why = "it is mounted in another mount namespace, or is swap space; let go of it first"
    return errors.InUse(kind="device", key=device, why=why)


def unescaped(path: str) -> str:
    """A path of mountinfo as it is: blanks and the like are octal there (proc(5))."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), path)

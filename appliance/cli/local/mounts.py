"""Mounts and loop devices under a folder: who uses a volume, and what a crash left behind.

Reads /proc/self/mountinfo (proc(5)) and /sys/block/loop*; changes only what lies under the folder
it is given.
"""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from appliance.common import errors

_RELEASE_S = 10.0


@dataclass(frozen=True, slots=True)
class Mount:
    """``number`` is ``major:minor`` of the device it shows."""

    number: str
    point: Path


def mounts() -> list[Mount]:
    """Every mount this process sees, in the order they were made."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields = line.split(" ")
        found.append(Mount(fields[2], Path(_unescaped(fields[4]))))
    return found


def under(folder: Path) -> list[Path]:
    """Mount points below ``folder``, the innermost first."""
    return [mount.point for mount in reversed(mounts()) if mount.point.is_relative_to(folder)]


def loops_over(folder: Path) -> dict[Path, str]:
    """Loop devices whose file lies below ``folder``, with their ``major:minor``."""
    found = {}
    for file in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            backing = file.read_text(encoding="utf-8").strip().removesuffix(" (deleted)")
            number = (file.parent.parent / "dev").read_text(encoding="ascii").strip()
        except OSError:  # it was detached meanwhile
            continue
        if Path(backing).is_relative_to(folder):
            found[Path("/dev") / file.parent.parent.name] = number
    return found


def points_of(numbers: set[str]) -> list[Path]:
    """Where devices of these ``major:minor`` are mounted."""
    return [mount.point for mount in mounts() if mount.number in numbers]


def number_of(device: str) -> str | None:
    """``major:minor`` of a block device's path; None if there is none."""
    try:
        rdev = Path(device).stat().st_rdev
    except OSError:
        return None
    return f"{os.major(rdev)}:{os.minor(rdev)}"


def release(point: Path) -> None:
    """Unmount ``point`` if it is a mount point; waits a while for it to fall idle.

    Raises errors.InUse.
    """
    deadline = time.monotonic() + _RELEASE_S
    while point in [mount.point for mount in mounts()]:
        done = subprocess.run(["umount", str(point)], capture_output=True, text=True, check=False)
        if done.returncode and time.monotonic() > deadline:
            raise errors.InUse(kind="mount", key=point, why=done.stderr.strip())
        if done.returncode:
            time.sleep(0.1)


def detach(loop: Path) -> None:
    """Give a loop device back."""
    subprocess.run(["losetup", "-d", str(loop)], capture_output=True, check=False)


def _unescaped(text: str) -> str:
    for octal, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(octal, char)
    return text

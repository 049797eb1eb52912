"""Loop devices: attached with losetup(8), whose numbers are shared with every other program of
the host, and let go through the descriptor that proves nobody else uses them.

Numbers are those of include/uapi/linux/loop.h.
"""

import contextlib
import fcntl
import logging
import time
from pathlib import Path

from appliance.common import errors
from appliance.sdc import processes

logger = logging.getLogger(__name__)

_LOOP_CLR_FD = 0x4C01

#: A number that losetup found free may be taken by another program before it uses it.
_RETRY_S = 5.0


def attach(file: Path, read_only: bool, timeout_s: float) -> str:
    """The path of a loop device over ``file``, with direct I/O. Raises errors.Unavailable."""
    argv = ["losetup", "--find", "--show", "--direct-io=on"]
    if read_only:
        argv.append("--read-only")
    deadline = time.monotonic() + _RETRY_S
    while True:
        try:
            device = processes.run([*argv, str(file)], timeout_s).strip()
            break
        except errors.Unavailable as exc:
            if "busy" not in str(exc) or time.monotonic() > deadline:
                raise
            logger.info("loop_taken file=%s", file)
    if _attribute(device, "dio") != "1":
        # Still correct (a flush reaches the file either way), but slower, and cached twice.
        logger.warning("loop_without_direct_io device=%s", device)
    return device


def backing_file(device: str) -> str:
    """The file behind ``device`` as the kernel names it; empty if there is none."""
    return _attribute(device, "backing_file")


def over(file: Path) -> list[str]:
    """Loop devices over ``file``."""
    return [
        f"/dev/{entry.name}"
        for entry in Path("/sys/block").glob("loop*")
        if backing_file(entry.name) == str(file)
    ]


def clear(fd: int) -> None:
    """Let go of the loop device open as ``fd``: the kernel frees it when the last one who has
    it open closes it."""
    with contextlib.suppress(OSError):  # ENXIO: it is free already
        fcntl.ioctl(fd, _LOOP_CLR_FD)


def wait_free(device: str, backing: str, timeout_s: float) -> None:
    """Wait until ``backing`` is not behind ``device`` any more, else errors.Unavailable."""
    if not processes.poll_until(lambda: backing_file(device) != backing, timeout_s):
        raise errors.Unavailable(why=f"{device} is still in use; it goes when that ends")


def _attribute(device: str, name: str) -> str:
    try:
        path = Path("/sys/block", Path(device).name, "loop", name)
        return path.read_text(encoding="utf-8").rstrip("\n")
    except OSError:
        return ""

"""The cache id of a device: it changes whenever pages not yet on disk may have gone (R7).

That is at each boot of the host, and when the file system is mounted anew: a disk that was pulled
out and put back loses what was not written. It must *not* change when only the agent is started
again, in a mount namespace of its own (systemd's sandbox), where every mount has another id.
"""

import os
from pathlib import Path

from appliance.common import errors

#: File systems that make a folder of this kind for each of their mounted superblocks.
_SYSFS = ("xfs", "ext4", "f2fs")


def ident(fd: int, boot_id: str) -> str:
    """The cache id of the file system that ``fd`` is on.

    The kernel makes ``/sys/fs/<type>/<disk>`` when it mounts a superblock and removes it at the
    last unmount, and numbers no two entries of sysfs alike (fs/kernfs/dir.c), so the number of
    that folder names the superblock in every mount namespace. A file system without such a
    folder has the id of its mount instead: in a namespace of its own each start of the agent then
    looks like a lost cache, which costs a delta resync and no data.
    """
    device = os.fstat(fd).st_dev
    return f"{boot_id}:{_superblock(device) or _mount(fd)}:{device}"


def _superblock(device: int) -> str:
    try:
        disk = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").readlink().name
    except OSError:  # no block device: tmpfs, btrfs, overlay
        return ""
    for kind in _SYSFS:
        try:
            return f"s{Path('/sys/fs', kind, disk).stat().st_ino}"
        except OSError:
            continue
    return ""


def _mount(fd: int) -> str:
    with Path(f"/proc/self/fdinfo/{fd}").open(encoding="ascii") as info:
        for line in info:
            if line.startswith("mnt_id:"):
                return f"m{line.split()[1]}"
    raise errors.Unavailable(why="/proc/self/fdinfo shows no mount ids; this kernel is too old")

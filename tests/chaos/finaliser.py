"""Removes what of a chaos cluster has a name, when whoever made it is gone, however it went.

Hosts end by themselves. What is left then is the folder in RAM, the control groups, disks in user
space, and loop devices over a file system in user space, which belong to the machine. A small
shell waits for the end of its input, which comes with the end of the maker, and clears them away.
"""

import subprocess
from pathlib import Path

_SCRIPT = """\
read -r nothing
tries=0
while [ $tries -lt 100 ]; do
    for device in $(losetup --all --noheadings --output NAME,BACK-FILE |
        sed -n "s|^\\([^ ]*\\) .*$1.*$|\\1|p"); do
        losetup --detach "$device"
    done
    for disk in "$2"/*/fuse; do
        [ ! -d "$disk" ] || umount -l "$disk"
    done
    rm -rf "$2"
    for group in /sys/fs/cgroup/memory/$1-*; do
        [ ! -d "$group" ] || rmdir "$group"
    done
    [ -e "$2" ] || ls -d /sys/fs/cgroup/memory/$1-* || break
    tries=$((tries + 1))
    sleep 0.2
done
"""


class Finaliser:
    """``run`` is in the name of everything to be removed; ``directory`` goes with it."""

    def __init__(self, run: str, directory: Path) -> None:
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT, "finaliser", run, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def close(self) -> None:
        """Remove it all now, and return when that is done."""
        self._process.communicate(timeout=60)

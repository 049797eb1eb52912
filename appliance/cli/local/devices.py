"""Devices of a single-host cluster: plain directories, or file systems of a fixed size in files.

Called by ``up`` and ``down``. Only what the state file names is ever made, mounted or removed.
"""

import os
import shutil
import subprocess
from pathlib import Path

from appliance.cli.local import mounts, state
from appliance.common import errors, units

#: mkfs.xfs refuses less.
_XFS_LEAST = 300 * units.MIB

#: Room for the ballast and a little data.
LEAST = 128 * units.MIB


def plan(cluster: state.Cluster, sds_count: int, per_sds: int) -> tuple[state.Device, ...]:
    """The devices of ``sds_count`` servers; those there already stay as they are."""
    known = {device.path: device for device in cluster.devices}
    base = Path(cluster.device_dir)
    for number in range(1, sds_count + 1):
        for index in range(1, per_sds + 1):
            name = f"sds{number}" if index == 1 else f"sds{number}-{index}"
            image = str(base / f"{name}.img") if cluster.device_size else ""
            made = state.Device(f"sds{number}", str(base / name), image)
            known.setdefault(made.path, made)
    return tuple(known.values())


def make(cluster: state.Cluster) -> None:
    """Make what is missing and mount the images. Raises errors.Unavailable."""
    for device in cluster.devices:
        path = Path(device.path)
        path.mkdir(parents=True, exist_ok=True)
        if device.image and not os.path.ismount(path):
            if not Path(device.image).exists():
                _format(Path(device.image), cluster.device_size)
            run(["mount", "-o", "loop", device.image, device.path])


def unmount(cluster: state.Cluster) -> None:
    """Unmount the images; their loop devices go with them. Raises errors.Unavailable."""
    for device in cluster.devices:
        if device.image:
            mounts.release(Path(device.path))


def remove(cluster: state.Cluster) -> None:
    """Delete every device and all data on it."""
    for device in cluster.devices:
        if os.path.ismount(device.path):
            raise errors.InUse(kind="device", key=device.path, why="it is still mounted")
        shutil.rmtree(device.path, ignore_errors=True)
        if device.image:
            Path(device.image).unlink(missing_ok=True)
    base = Path(cluster.device_dir)
    if base.is_dir() and not any(base.iterdir()):
        base.rmdir()


def run(words: list[str]) -> None:
    """Run a system tool. Raises errors.Unavailable with what it said."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    except FileNotFoundError:
        raise errors.Unavailable(
            why=f"there is no {words[0]} on this host",
            next="install it (apt-get install util-linux e2fsprogs xfsprogs)",
        ) from None
    except subprocess.TimeoutExpired:
        raise errors.Unavailable(why=f"{' '.join(words)} does not end") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        hint = "" if os.geteuid() == 0 else "; it needs root"
        raise errors.Unavailable(why=f"{' '.join(words)} failed: {said}{hint}")


def _format(image: Path, size: int) -> None:
    """A sparse file with a file system: XFS with reflink, or ext4 where that cannot be."""
    draft = image.with_suffix(".new")
    with draft.open("wb") as handle:
        handle.truncate(size)
    if size >= _XFS_LEAST and shutil.which("mkfs.xfs") and _kernel_has("xfs"):
        run(["mkfs.xfs", "-q", "-f", "-m", "reflink=1", str(draft)])
    else:
        run(["mkfs.ext4", "-q", "-F", "-m", "0", str(draft)])
    draft.replace(image)  # a half-made one is never taken for a device


def _kernel_has(name: str) -> bool:
    if shutil.which("modprobe"):
        subprocess.run(["modprobe", "-q", name], capture_output=True, check=False)
    return name in Path("/proc/filesystems").read_text(encoding="ascii").split()

"""Taking a single-host cluster down so that nothing stays: no process, mount or socket.

Volumes are unmapped in order while the cluster can still do it; what a crash left is then found
by the cluster's mark and folder, and ended.
"""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from appliance.cli.local import children, devices, mounts, processes, state, up
from appliance.cli.session import Session
from appliance.common import errors

Say = Callable[[str], None]

_UNMAP_S = 30.0
_POLL_S = 0.1


def down(directory: Path, purge: bool, force: bool, say: Say) -> None:
    """Stop the cluster of ``directory``; ``purge``: and delete it with all its data.

    ``force``: even where a volume's device is mounted. Raises errors.InUse, errors.Conflict.
    """
    with state.locked(directory):
        cluster = state.need(directory)
        kids = children.Children(directory, cluster)
        if not force:
            _refuse_if_mounted(cluster)
        if kids.alive(state.MDM) and kids.alive(state.SDC):
            _unmap_all(up.session(directory, cluster), say)
        for name, how in kids.stop(cluster.names).items():
            say(f"{name} {how}" if how != "gone" else f"{name} was gone already")
        clean(kids.cluster)
        devices.unmount(kids.cluster)
        if purge:
            devices.remove(kids.cluster)
    if purge:
        shutil.rmtree(directory)
        say(f"deleted {directory}")


def clean(cluster: state.Cluster) -> None:
    """End whatever of ``cluster`` outlived its agents, and what it had made in the kernel."""
    run_dir = cluster.run_dir
    for loop in mounts.loops_over(run_dir):
        mounts.detach(loop)
    for process in processes.marked(cluster.id):
        processes.kill(process)
    for loop in mounts.loops_over(run_dir):  # those that a process above still held
        mounts.detach(loop)
    for point in mounts.under(run_dir):
        mounts.release(point)
    shutil.rmtree(run_dir, ignore_errors=True)


def _refuse_if_mounted(cluster: state.Cluster) -> None:
    numbers = set(mounts.loops_over(cluster.run_dir).values())
    points = mounts.points_of(numbers)
    if points:
        names = ", ".join(map(str, points))
        raise errors.InUse(
            kind="cluster",
            key=cluster.id,
            why=f"a volume of it is mounted at {names}",
            next=f"umount {points[0]}, then again; or lose what is not written: --force",
        )


def _unmap_all(talk: Session, say: Say) -> None:
    """Unmap every volume in order; one that does not come off is left to ``clean``."""
    try:
        mapped = [volume for volume in talk.items("volumes") if volume["mappings"]]
        for volume in mapped:
            for mapping in volume["mappings"]:
                talk.delete("volumes", volume["id"], "mappings", mapping["id"])
        deadline = time.monotonic() + _UNMAP_S
        while any(volume["mappings"] for volume in talk.items("volumes")):
            if time.monotonic() > deadline:
                say("not every volume could be unmapped in order; they are cut off now")
                return
            time.sleep(_POLL_S)
    except errors.BasaltError as exc:
        say(f"volumes could not be unmapped in order ({exc}); they are cut off now")
        return
    for volume in mapped:
        say(f"unmapped {volume['name']}")

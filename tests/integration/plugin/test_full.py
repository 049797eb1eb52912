"""File systems without room (R5): the error reaches the application, the copies stay equal, nothing
turns for ever, and the volume goes on once there is room."""

import contextlib
import errno
import os
import random

import nbd
import pytest

from tests.fakes import legs, rig, small_disk
from tests.integration.plugin.cases import MIB, K
from tests.integration.plugin.test_refusals import refuse, refusing

pytestmark = pytest.mark.root

DISK = 320 * MIB
SIZE = 512 * MIB


@pytest.fixture(params=["ext4", "xfs"])
def disks(request, tmp_path):
    """Two file systems; the servers of the test's rig lie on them."""
    make = getattr(small_disk, request.param)
    with contextlib.ExitStack() as mounted:
        folder = tmp_path / "0"
        folder.mkdir()
        found = {}
        for name in ("x", "y"):
            found[name] = mounted.enter_context(make(tmp_path / f"disk-{name}", DISK))
            (folder / name).symlink_to(found[name])
        yield found


@pytest.fixture
def volume(disks, make_rig):
    """Ended before its disks are unmounted: pytest ends fixtures in reverse order."""
    return make_rig(size=SIZE, life_s=100.0)


def fill(disk, leave: int) -> None:
    with (disk / "filler").open("wb") as file:
        while (free := os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize) > leave:
            os.posix_fallocate(file.fileno(), file.seek(0, 2), min(free - leave, 16 * MIB) + 1)
            file.seek(0, 2)


def refused(call, *args) -> None:
    with pytest.raises(nbd.Error) as caught:
        call(*args)
    assert caught.value.errnum == errno.ENOSPC


def test_both_full_is_an_error_equal_copies_and_no_turn(disks, volume):
    handle = volume.connect()
    old = random.Random(1).randbytes(4 * MIB)
    handle.pwrite(old, 0)
    handle.flush()
    for disk, leave in ((disks["x"], 2 * MIB), (disks["y"], 3 * MIB)):
        fill(disk, leave)
    new = random.Random(2).randbytes(16 * MIB)
    for offset in (2 * MIB, 32 * MIB, 100 * MIB):  # over what is there, and into holes
        refused(handle.pwrite, new, offset)
        assert volume["x"].read(0, 128 * MIB) == volume["y"].read(0, 128 * MIB)
    now = handle.pread(4 * MIB, 0)
    assert now[: 2 * MIB] == old[: 2 * MIB]
    for at in range(0, 2 * MIB, K):  # each block is the old one or the new one
        assert now[2 * MIB + at :][:K] in (old[2 * MIB + at :][:K], new[at:][:K])
    handle.pwrite(old, 0)  # what has its blocks can be written over
    status = volume.plugin.status(waiting="")
    assert (status["generation"], status["left"], status["full"], status["ended"]) == (1, 0, [], "")
    for disk in disks.values():
        (disk / "filler").unlink()
    handle.pwrite(new, 32 * MIB)
    handle.flush()
    assert handle.pread(len(new), 32 * MIB) == new
    assert volume["x"].read() == volume["y"].read()


@pytest.mark.parametrize("state", [rig.IN_SYNC, rig.SYNCING])
def test_copies_that_cannot_be_made_equal_are_a_turn(make_rig, state):
    volume = make_rig()
    volume.turn({"y": state}, serve={name: refusing(volume[name], "ENOSPC") for name in ("x", "y")})
    handle = volume.connect()
    handle.pwrite(b"1" * 4 * K, 0)
    refuse(volume["x"])
    refuse(volume["y"])
    volume["x"].overwrite(K, b"2" * K)  # as if x had taken a part of it
    write = legs.Doing(handle.pwrite, b"2" * 4 * K, 0)
    # Neither takes a write at all, so the copies cannot be made equal: then a turn it is.
    assert volume.plugin.status(left=2)["full"] == ["y"]
    assert not write.done
    (volume["x"].folder / "refuse-pwrite").unlink()
    volume.turn({"y": rig.STALE})
    write.result()
    assert handle.pread(4 * K, 0) == b"2" * 4 * K

"""Proof of death: the exclusive flock is had only when every holder is gone."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.common import errors
from appliance.sds import fence

_HOLD = """
import fcntl, os, sys, time
fd = os.open(sys.argv[1], os.O_RDWR)
if sys.argv[2] == "flock":
    fcntl.flock(fd, fcntl.LOCK_SH)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "lock"
    path.touch()
    return path


@pytest.fixture
def hold(lock: Path) -> Iterator[object]:
    made: list[subprocess.Popen[bytes]] = []

    def _hold(how: str = "flock") -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            [sys.executable, "-c", _HOLD, str(lock), how], stdout=subprocess.PIPE
        )
        made.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        return child

    yield _hold
    for child in made:
        child.kill()
        child.wait()
        child.stdout.close()


def test_holder_is_killed_and_the_flock_had(lock: Path, hold) -> None:
    child = hold()
    with fence.Fence(lock, 10.0):
        assert child.wait(10) == -9
        with pytest.raises(errors.Unavailable, match="seal"), fence.shared(lock):
            pass


def test_child_that_inherited_the_flock_is_found(lock: Path) -> None:
    with fence.shared(lock) as fd:
        child = subprocess.Popen(["/bin/sleep", "600"], pass_fds=[fd])
    assert fence.kill_holders([lock]) == [child.pid]
    assert child.wait(10) == -9


def test_reader_without_a_flock_is_let_live(lock: Path, hold) -> None:
    child = hold("open")
    with fence.Fence(lock, 10.0):
        pass
    assert fence.kill_holders([lock]) == []
    assert child.poll() is None


def test_other_locks_holders_are_let_live(lock: Path, hold, tmp_path: Path) -> None:
    child = hold()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "lock").touch()
    assert fence.kill_holders([tmp_path / "other" / "lock", tmp_path / "none" / "lock"]) == []
    assert child.poll() is None


def test_holder_that_cannot_be_killed_keeps_it_from_being_sealed(lock: Path) -> None:
    """This very process, which is left out, stands for one in a call that does not end."""
    fd = os.open(lock, os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_SH)
    with pytest.raises(errors.Unavailable, match="not sealed"):
        fence.Fence(lock, 0.05)
    os.close(fd)
    fence.Fence(lock, 0.05).close()


def test_share_lets_others_share_but_not_exclude(lock: Path) -> None:
    with fence.Fence(lock, 1.0) as held, held.share() as fd:
        with fence.shared(lock):
            pass
        other = os.open(lock, os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(other)
        assert os.fstat(fd).st_ino == lock.stat().st_ino
    fence.Fence(lock, 0.05).close()

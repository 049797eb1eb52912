"""Legs that answer with an error: who is told, and when."""

import errno

import nbd
import pytest

from tests.fakes import legs, rig
from tests.integration.plugin.cases import ONES, TWOS, K


def refusing(server: legs.LegServer, number: str, op: str = "pwrite") -> dict[str, object]:
    switch = server.folder / f"refuse-{op}"
    return {
        "filters": ["error"],
        "arguments": [f"error-{op}={number}", f"error-{op}-rate=100%", f"error-{op}-file={switch}"],
    }


def refuse(server: legs.LegServer, op: str = "pwrite") -> None:
    (server.folder / f"refuse-{op}").touch()


def test_a_replica_refused_is_reported_as_failed_and_left_by_a_turn(make_rig):
    """R5: EIO of one replica never goes up while another remains."""
    volume = make_rig()
    volume.turn(serve={"y": refusing(volume["y"], "EIO")})
    handle = volume.connect()
    handle.pwrite(ONES, 0)
    refuse(volume["y"])
    write = legs.Doing(handle.pwrite, TWOS, 0)
    status = volume.plugin.status(left=2)
    assert (status["failed"], status["full"], status["suspects"]) == (["y"], [], [])
    assert not write.done
    volume.turn({"y": rig.STALE})
    write.result()
    assert handle.pread(K, 0) == TWOS


@pytest.mark.parametrize("length", [K, 512 * 1024], ids=["small", "large"])
def test_a_full_replica_goes_and_only_the_last_one_says_so(make_rig, length):
    """R5: ENOSPC goes up when there is no other replica to be equal to."""
    volume = make_rig()
    volume.turn(serve={"y": refusing(volume["y"], "ENOSPC")})
    handle = volume.connect()
    handle.pwrite(bytes(length), 0)
    refuse(volume["y"])
    write = legs.Doing(handle.pwrite, b"2" * length, 0)
    assert volume.plugin.status(left=2)["full"] == ["y"]
    assert not write.done
    volume.turn({"y": rig.STALE}, serve={"x": refusing(volume["x"], "ENOSPC")})
    write.result()
    refuse(volume["x"])
    with pytest.raises(nbd.Error) as caught:
        handle.pwrite(b"3" * length, 0)
    assert caught.value.errnum == errno.ENOSPC
    assert volume.plugin.status()["ended"] == ""
    (volume["x"].folder / "refuse-pwrite").unlink()
    handle.pwrite(b"4" * length, 0)
    assert handle.pread(length, 0) == b"4" * length


def test_an_error_goes_up_once_another_column_s_copies_are_equal(make_rig):
    """R5: x is the last of column 0 and full; y refuses too, and z has column 1's new bytes."""
    volume = make_rig(columns=(("x", "w"), ("y", "z")))
    both = {name: refusing(volume[name], "ENOSPC") for name in ("x", "y")}
    volume.turn({"w": rig.STALE}, serve=both)
    handle = volume.connect()
    handle.pwrite(bytes(2 << 20), 0)
    refuse(volume["x"])
    refuse(volume["y"])
    with pytest.raises(nbd.Error) as caught:
        handle.pwrite(b"2" * (2 << 20), 0)
    assert caught.value.errnum == errno.ENOSPC
    assert volume["y"].read() == volume["z"].read() == bytes(rig.SIZE)
    assert volume.plugin.status(full=[], left=0)["generation"] == 2


def test_a_read_refused_is_answered_by_the_other_and_fails_only_with_the_last(make_rig):
    volume = make_rig()
    volume.turn(serve={"y": refusing(volume["y"], "EIO", "pread")})
    handle = volume.connect()
    handle.pwrite(ONES, 0)
    refuse(volume["y"], "pread")
    for _ in range(4):
        assert handle.pread(K, 0) == ONES
    volume.plugin.status(failed=["y"], left=0)
    volume.turn({"y": rig.STALE}, serve={"x": refusing(volume["x"], "EIO", "pread")})
    refuse(volume["x"], "pread")
    for length in (K, 128 * 1024):
        with pytest.raises(nbd.Error) as caught:
            handle.pread(length, 0)
        assert caught.value.errnum == errno.EIO
    volume.plugin.status(failed=["x"])


def test_a_block_status_refused_is_answered_by_the_other(make_rig):
    volume = make_rig()
    volume.turn(serve={"y": refusing(volume["y"], "EIO", "extents")})
    handle = volume.connect()
    handle.pwrite(ONES, 0)
    refuse(volume["y"], "extents")
    for _ in range(4):
        handle.block_status(K, 0, lambda *_: 0)
    volume.plugin.status(failed=["y"], left=0)
    volume.turn({"y": rig.STALE}, serve={"x": refusing(volume["x"], "EIO", "extents")})
    refuse(volume["x"], "extents")
    with pytest.raises(nbd.Error):
        handle.block_status(K, 0, lambda *_: 0)


def test_a_failed_flush_takes_the_device_out_and_is_never_tried_there_again(make_rig):
    """R5: the kernel reports a lost page once; success of a second flush proves nothing."""
    volume = make_rig(serve={"x": {"scripted": True}, "y": {"scripted": True}})
    handle = volume.connect()
    handle.pwrite(ONES, 0)
    (volume["y"].folder / "no-flush").touch()
    flush = legs.Doing(handle.flush)
    status = volume.plugin.status(left=1)
    assert (status["failed"], status["unflushed"]) == (["y"], True)
    (volume["y"].folder / "no-flush").unlink()
    assert not flush.done
    volume.turn({"y": rig.STALE})
    flush.result()
    volume.plugin.status(unflushed=False)


def test_an_intent_write_refused_takes_the_device_out(make_rig):
    """R5. No data goes anywhere before."""
    volume = make_rig()
    volume.turn(serve={"y": refusing(volume["y"], "EIO")})
    refuse(volume["y"])
    handle = volume.connect()
    write = legs.Doing(handle.pwrite, ONES, 0)
    assert volume.plugin.status(left=2)["failed"] == ["y"]
    assert volume["x"].read(0, K) == volume["y"].read(0, K) == bytes(K)
    volume.turn({"y": rig.STALE})
    write.result()

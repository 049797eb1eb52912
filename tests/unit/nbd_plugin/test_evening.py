"""Making copies equal after both refused a write: either content will do, two will not."""

import pytest

from appliance.domain import model
from nbd_plugin import evening, failures

K = 4096


def refusing(**ops: str) -> dict[str, object]:
    arguments = []
    for op, number in ops.items():
        arguments += [f"error-{op}={number}", f"error-{op}-rate=100%"]
    return {"filters": ["error"], "arguments": arguments}


def differ(epochs) -> None:
    """A part of a block here, two whole ones there."""
    epochs.servers["x"].overwrite(3 * K + 7, b"1" * 9)
    epochs.servers["y"].overwrite(8 * K, b"2" * 2 * K)


def test_equal_ones_are_left_alone(epochs):
    epoch = epochs(**refusing(pwrite="EIO"))
    evening.even_out(epoch, 0, 1 << 20)
    assert epochs.blamed == []


def test_what_the_first_has_is_copied(epochs):
    epoch = epochs()
    differ(epochs)
    evening.even_out(epoch, 3 * K + 1, 10 * K)
    x, y = (server.read(0, 16 * K) for server in epochs.servers.values())
    assert x == y
    assert x[3 * K + 7 : 3 * K + 16] == b"1" * 9
    assert not any(x[8 * K : 10 * K])
    assert epochs.blamed == []


def test_nothing_beside_the_range_is_touched(epochs):
    epoch = epochs()
    differ(epochs)
    evening.even_out(epoch, 8 * K, K)
    assert epochs.servers["y"].read(9 * K, K) == b"2" * K
    assert epochs.servers["x"].read(9 * K, K) == bytes(K)


def test_where_the_second_has_no_room_the_first_goes_back(epochs):
    served = {"x": {}, "y": refusing(pwrite="ENOSPC", zero="ENOSPC")}
    epoch = epochs.each(served)
    differ(epochs)
    evening.even_out(epoch, 0, 16 * K)
    x, y = (server.read(0, 16 * K) for server in epochs.servers.values())
    assert x == y
    assert x[8 * K : 10 * K] == b"2" * 2 * K
    assert not any(x[: 8 * K])
    assert epochs.blamed == []


@pytest.mark.parametrize(
    ("served", "blamed"),
    [
        (refusing(pwrite="ENOSPC", zero="ENOSPC"), ("y", "full")),
        (refusing(pwrite="EIO", zero="EIO"), ("y", "failed")),
        (refusing(pread="EIO"), ("x", "failed")),
    ],
    ids=["no room anywhere", "a broken disk", "unreadable"],
)
def test_what_cannot_be_made_equal_is_a_turn(epochs, served, blamed):
    epoch = epochs(**served)
    differ(epochs)
    with pytest.raises(failures.EpochOver):
        evening.even_out(epoch, 0, 16 * K)
    assert epochs.blamed == [blamed]


def test_one_that_is_copied_to_never_gives_the_content(epochs):
    states = {"y": model.ReplicaState.SYNCING}
    served = {"x": {}, "y": refusing(pwrite="ENOSPC", zero="ENOSPC")}
    epoch = epochs.each(served, states)
    differ(epochs)
    with pytest.raises(failures.EpochOver):
        evening.even_out(epoch, 0, 16 * K)
    assert epochs.blamed == [("y", "full")]
    assert not any(epochs.servers["x"].read(8 * K, 2 * K))


@pytest.mark.parametrize("idle", [True, False])
def test_one_that_dies_is_a_turn(epochs, idle):
    epoch = epochs()
    differ(epochs)
    if not idle:
        epoch.pools["y"].discard(epoch.pools["y"].take())
    epochs.servers["y"].kill()
    with pytest.raises(failures.EpochOver):
        evening.even_out(epoch, 0, 16 * K)
    assert epochs.blamed == [("y", "suspects")]


def test_a_generation_that_ended_proves_nothing(epochs):
    epoch = epochs()
    evening.even_out(epoch, 0, K)
    epoch.end("a turn began")
    with pytest.raises(failures.EpochOver):
        evening.even_out(epoch, 0, K)

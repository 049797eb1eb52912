"""One attempt at a change: what is asked of a leg that has gone, or whose generation is over."""

import pytest

from nbd_plugin import changing, failures

K = 4096


def test_a_leg_without_connections_left_is_a_turn_and_no_error(epochs):
    epoch = epochs()
    for pool in epoch.pools.values():
        pool.discard(pool.take_lane())
    for name in ("x", "y"):
        epochs.servers[name].kill()
        for _ in range(2):
            with pytest.raises(failures.EpochOver):
                changing.write(epoch, memoryview(bytes(K)), 0, False)
    assert ("x", "suspects") in epochs.blamed


def test_an_epoch_that_ended_in_between_is_over_for_every_change(epochs):
    epoch = epochs()
    epoch.end("a turn began")
    view = memoryview(bytes(K))
    for attempt in (
        lambda: changing.write(epoch, view, 0, False),
        lambda: changing.write(epoch, memoryview(bytes(1 << 20)), 0, False),
        lambda: changing.zero(epoch, 0, K, False, True),
        lambda: changing.flush(epoch),
    ):
        with pytest.raises(failures.EpochOver):
            attempt()
    assert epochs.blamed == []

"""Every operation is counted once, when it ends."""

import pytest

from appliance.protocol import messages
from nbd_plugin import counters


def test_each_kind_is_counted_with_its_bytes():
    count = counters.Counters()
    with count.reading(10), count.writing(7):
        assert count.snapshot() == messages.IoStats(in_flight=2)
    with count.flushing(), count.trimming():
        pass
    assert count.snapshot() == messages.IoStats(
        reads=1, writes=1, flushes=1, trims=1, read_bytes=10, write_bytes=7
    )


def test_one_that_raises_is_an_error_and_goes_on_raising():
    count = counters.Counters()
    with pytest.raises(OSError, match="no"), count.reading(10):
        raise OSError("no")
    assert count.snapshot() == messages.IoStats(reads=1, read_bytes=10, errors=1)

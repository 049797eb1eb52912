"""A probe tells how long a small durable write takes, also while one takes for ever."""

import os
import time

from appliance.sds import probe


def wait(found):
    deadline = time.monotonic() + 10
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_it_measures_and_leaves_one_small_file(tmp_path):
    made = probe.Probe(tmp_path, 0.01)
    made.start()
    wait(lambda: made.seconds > 0)
    made.stop()
    assert [entry.name for entry in tmp_path.iterdir()] == ["probe"]
    wait(lambda: (tmp_path / "probe").stat().st_size == 4096)


def test_a_write_that_hangs_shows_as_long_as_it_hangs(tmp_path):
    os.mkfifo(tmp_path / "probe")  # opening it for writing waits for a reader
    made = probe.Probe(tmp_path, 0.01)
    made.start()
    wait(lambda: made.seconds > 0.05)
    made.stop()
    reader = os.open(tmp_path / "probe", os.O_RDONLY)
    os.close(reader)


def test_a_device_that_is_gone_ends_nothing(tmp_path):
    made = probe.Probe(tmp_path / "gone", 0.01)
    made.start()
    wait(lambda: made.seconds > 0)
    assert made._thread.is_alive()
    made.stop()

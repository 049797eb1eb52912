"""The pace of a copy, on a clock that the test holds."""

import threading

from appliance.common import clock
from appliance.sds.copier import progress, throttle


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return 0.0


def test_no_limit_never_waits() -> None:
    pace = throttle.Throttle(0, _Clock())
    for _ in range(1000):
        pace.take(1 << 30)


def test_first_step_is_free_and_the_next_waits_until_it_is_let_go() -> None:
    pace = throttle.Throttle(1, _Clock())
    pace.take(1 << 20)
    through = threading.Event()

    def _second() -> None:
        pace.take(1 << 20)  # due in twelve days
        through.set()

    thread = threading.Thread(target=_second)
    thread.start()
    pace.set(0)
    while not through.wait(0.01):
        pace.set(0)  # it may not have been waiting yet
    thread.join()


def test_pace_is_kept_on_a_real_clock() -> None:
    time = clock.SystemClock()
    began = time.monotonic()
    pace = throttle.Throttle(1 << 20, time)
    for _ in range(3):
        pace.take(1 << 16)
    assert time.monotonic() - began >= 2 / 16


def test_progress_is_told_seldom_and_news_at_once() -> None:
    time, lines = _Clock(), []
    told = progress.Progress(5, time, lines.append)
    told.begin(100)
    told.copied(10)
    told.waiting("full")
    told.waiting("full")
    told.copied(10)
    time.now += 1
    told.copied(10)
    told.failed("broken")
    told.done()
    assert len(lines) == 6
    assert '"copied_bytes": 20' in lines[2]
    assert '"waiting": "full"' in lines[1]
    assert '"waiting": ""' in lines[2]
    assert '"error": "broken"' in lines[4]
    assert '"done": true' in lines[5]
    assert '"copied_bytes": 100' in lines[5]

import time

from appliance.common import clock


def test_the_system_clock_is_boot_time_and_the_wall():
    system = clock.SystemClock()
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= system.monotonic() <= time.clock_gettime(time.CLOCK_BOOTTIME)
    before = time.time()
    assert before <= system.wall() <= time.time()

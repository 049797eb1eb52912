import logging
import os
import signal
import socket
import threading

import pytest

from appliance.common import daemon


class Counter:
    """A loop body whose turns a test can wait for."""

    def __init__(self, fails=False):
        self.fails = fails
        self.turns = threading.Semaphore(0)

    def run_once(self):
        self.turns.release()
        if self.fails:
            raise ZeroDivisionError("a bug")


@pytest.fixture
def loops():
    made = []

    def make(interval_s, run_once):
        made.append(daemon.Loop("test-loop", interval_s, run_once))
        made[-1].start()
        return made[-1]

    yield make
    for loop in made:
        loop.stop()


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """systemd's side of the notification socket."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield sock


class TestLoop:
    def test_it_runs_again_and_again(self, loops):
        body = Counter()
        loop = loops(0.001, body.run_once)
        for _ in range(5):
            assert body.turns.acquire(timeout=20)
        assert loop.turns >= 4

    def test_a_wake_runs_it_before_its_time(self, loops):
        body = Counter()
        loop = loops(3600, body.run_once)
        for _ in range(3):
            assert body.turns.acquire(timeout=20)
            loop.wake()

    def test_a_wake_during_a_turn_is_not_lost(self, loops):
        entered, leave, turns = threading.Event(), threading.Event(), threading.Semaphore(0)

        def run_once():
            turns.release()
            entered.set()
            leave.wait(20)

        loop = loops(3600, run_once)
        assert entered.wait(20)
        loop.wake()
        leave.set()
        assert turns.acquire(timeout=20)
        assert turns.acquire(timeout=20)

    def test_it_outlives_an_exception_and_logs_it(self, loops, caplog):
        body = Counter(fails=True)
        loop = loops(0.001, body.run_once)
        for _ in range(3):
            assert body.turns.acquire(timeout=20)
        loop.stop()
        failures = [r for r in caplog.records if "loop_failed loop=test-loop" in r.message]
        assert len(failures) >= 2
        assert failures[0].levelno == logging.ERROR
        assert failures[0].exc_info[0] is ZeroDivisionError

    def test_stopped_it_runs_no_more(self, loops):
        body = Counter()
        loop = loops(0.001, body.run_once)
        assert body.turns.acquire(timeout=20)
        loop.stop()
        assert not loop._thread.is_alive()
        while body.turns.acquire(blocking=False):
            pass
        loop.wake()
        assert not body.turns.acquire(blocking=False)

    def test_it_can_be_stopped_from_within_and_before_it_started(self, loops):
        loop = daemon.Loop("never", 1, lambda: None)
        loop.stop()
        loop = daemon.Loop("inward", 3600, lambda: loop.stop())  # noqa: PLW0108
        loop.start()
        loop._thread.join(20)
        assert not loop._thread.is_alive()

    def test_a_stop_between_two_looks_is_not_lost(self):
        loop = daemon.Loop("raced", 3600, lambda: None)

        class StoppedJustBefore(threading.Event):
            def clear(self):
                loop._stopping = True
                self.set()
                super().clear()

        loop._wake = StoppedJustBefore()
        loop.start()
        loop._thread.join(20)
        assert not loop._thread.is_alive()

    def test_waiting_for_a_stuck_turn_ends(self, loops):
        leave, entered = threading.Event(), threading.Event()

        def run_once():
            entered.set()
            leave.wait(60)

        loop = loops(1, run_once)
        assert entered.wait(20)
        loop.stop(timeout_s=0.05)
        assert loop._thread.is_alive()
        leave.set()


class TestNotify:
    def test_systemd_is_told(self, systemd):
        daemon.notify("STATUS=fine")
        assert systemd.recv(100) == b"STATUS=fine"

    def test_without_systemd_nothing_happens(self, monkeypatch):
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
        daemon.notify("READY=1")

    def test_an_abstract_socket_works_too(self, monkeypatch):
        name = f"basalt-test-{os.getpid()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind("\0" + name)
            sock.settimeout(20)
            monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
            daemon.notify("READY=1")
            assert sock.recv(100) == b"READY=1"


class TestRunUntil:
    def test_ready_then_stopping(self, systemd, monkeypatch):
        monkeypatch.delenv("WATCHDOG_USEC", raising=False)
        stop = threading.Event()
        stop.set()
        daemon.run_until(stop)
        assert [systemd.recv(100), systemd.recv(100)] == [b"READY=1", b"STOPPING=1"]

    def run_in_thread(self, fed_by):
        stop = threading.Event()
        thread = threading.Thread(target=daemon.run_until, args=(stop, fed_by))
        thread.start()
        return stop, thread

    def test_the_watchdog_is_fed_while_the_loop_turns(self, systemd, monkeypatch, loops):
        monkeypatch.setenv("WATCHDOG_USEC", "3000")
        stop, thread = self.run_in_thread(loops(0.0001, lambda: None))
        assert [systemd.recv(100) for _ in range(4)] == [b"READY=1"] + [b"WATCHDOG=1"] * 3
        stop.set()
        thread.join(20)

    def test_the_watchdog_is_fed_without_a_loop_too(self, systemd, monkeypatch):
        monkeypatch.setenv("WATCHDOG_USEC", "3000")
        stop, thread = self.run_in_thread(None)
        assert [systemd.recv(100) for _ in range(3)] == [b"READY=1"] + [b"WATCHDOG=1"] * 2
        stop.set()
        thread.join(20)

    def test_a_stuck_loop_does_not_feed_the_watchdog(self, systemd, monkeypatch):
        monkeypatch.setenv("WATCHDOG_USEC", "3000")
        waits = threading.Semaphore(0)

        class Stop:
            """An event that counts how often it is looked at."""

            def __init__(self):
                self.set_ = False

            def is_set(self):
                waits.release()
                return self.set_

        stop = Stop()
        stuck = daemon.Loop("stuck", 1, lambda: None)
        thread = threading.Thread(target=daemon.run_until, args=(stop, stuck))
        thread.start()
        for _ in range(50):
            assert waits.acquire(timeout=20)
        stop.set_ = True
        thread.join(20)
        # The first look sees a loop it never saw before.
        assert [systemd.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_sets_the_event(signum, caplog):
    caplog.set_level(logging.INFO)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        event = daemon.stop_event_on_signals()
        assert not event.is_set()
        signal.raise_signal(signum)
        assert event.wait(20)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert f"stopping signal={signum.name}" in caplog.text

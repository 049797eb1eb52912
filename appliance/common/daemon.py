"""The life of a role's process: signals, named loops, readiness and watchdog for systemd.

``Loop`` is the only way a role repeats work; it survives every exception of its body (logged
with a traceback), so that one bad turn never leaves a dead thread behind.
"""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

#: How long a signal may wait to be heard.
_SIGNAL_S = 0.1


class Loop:
    """Calls ``run_once`` every ``interval_s`` in its own thread, or at once after ``wake()``."""

    def __init__(self, name: str, interval_s: float, run_once: Callable[[], None]) -> None:
        self._interval_s = interval_s
        self._run_once = run_once
        self._wake = threading.Event()
        self._stopping = False
        self.turns = 0  # loops done, for the watchdog
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Run again as soon as possible. Never blocks."""
        self._wake.set()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Ask the loop to end after the present turn and wait for it."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            self._wake.clear()
            if self._stopping:  # looked at after the clear, which may have been of stop's wake
                return
            try:
                self._run_once()
            except Exception:  # a loop must outlive any bug in its body
                logger.exception("loop_failed loop=%s", self._thread.name)
            self.turns += 1
            self._wake.wait(self._interval_s)


def notify(state: str) -> None:
    """Tell systemd, as sd_notify(3) does; without NOTIFY_SOCKET this does nothing."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.sendto(state.encode(), address)


def stop_event_on_signals() -> threading.Event:
    """An event set by SIGTERM or SIGINT. Called from the main thread."""
    event = threading.Event()

    def _handler(signum: int, _frame: object) -> None:
        logger.info("stopping signal=%s", signal.Signals(signum).name)
        event.set()

    signal.signal(signal.SIGTERM, _handler)
    signal.signal(signal.SIGINT, _handler)
    return event


def run_until(stop: threading.Event, fed_by: Loop | None = None) -> None:
    """Say READY to systemd, feed its watchdog while ``fed_by`` goes on turning, return at stop."""
    notify("READY=1")
    watchdog_s = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6
    pause_s = min(_SIGNAL_S, watchdog_s / 3) if watchdog_s else _SIGNAL_S
    fed_at = time.monotonic()
    seen = -1
    # Not stop.wait(): the kernel may hand a signal to another thread, which does not wake this
    # one, where alone Python runs handlers; and a handler that interrupts Event.wait() while it
    # holds its lock would wait for itself in Event.set().
    while not stop.is_set():
        time.sleep(pause_s)
        if watchdog_s and time.monotonic() - fed_at >= watchdog_s / 3:
            fed_at = time.monotonic()
            if fed_by is None or fed_by.turns != seen:
                seen = fed_by.turns if fed_by is not None else 0
                notify("WATCHDOG=1")
    notify("STOPPING=1")

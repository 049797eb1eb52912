"""The pulse (R6): is every other replica of this generation still there to be asked?

One thread pings each leg over a connection of its own, which no data ever queues behind, so that
a slow disk or a busy client is not taken for a dead one. A leg's pulse is the moment its newest
answered ping was *sent*. A leg whose ping stays unanswered for T is suspected, not judged; while
it is late a connection is tried, which tells a slow server from one that is out of reach.
"""

import logging
import select
import threading
from collections.abc import Callable
from concurrent import futures

import nbd

from appliance.common import clock as clocks
from appliance.domain import model
from nbd_plugin import connections, failures, way
from nbd_plugin.epoch import Epoch

logger = logging.getLogger(__name__)

#: Time between two pings of a leg: four chances within T.
INTERVAL_S = model.PULSE_S / 4

_PING_BYTES = 512


class _Ping:
    """One leg's ping connection and the ping in flight on it, if any."""

    __slots__ = ("attempt", "buffer", "connection", "cookie", "pool", "sent_s")

    def __init__(self, pool: connections.LegPool, connection: connections.Connection) -> None:
        self.pool = pool
        self.connection = connection
        self.buffer = bytearray(_PING_BYTES)
        self.cookie = 0
        self.sent_s = 0.0
        self.attempt: way.Attempt | None = None


class Pulse:
    """Pings the legs of the epoch it was last given, until ``stop``."""

    def __init__(self, clock: clocks.Clock, beat: Callable[[], None]) -> None:
        """``beat()`` is called after each round in which a pulse became fresher."""
        self._clock = clock
        self._beat = beat
        self._watched: tuple[Epoch, list[_Ping]] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="basalt-pulse", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def connect(self, epoch: Epoch) -> None:
        """First pulse of every leg of a new epoch, before it serves; then it is watched.

        Comes before any connection for data: those wait for as long as the pulse goes on.
        """
        pools = list(epoch.pools.values())
        with futures.ThreadPoolExecutor(len(pools) or 1, "basalt-ping") as executor:
            found = executor.map(lambda pool: self._ping(epoch, pool), pools)
            pings = [ping for ping in found if ping is not None]
        self._round(epoch, pings, self._clock.monotonic() + INTERVAL_S)
        self._watched = epoch, pings

    def _ping(self, epoch: Epoch, pool: connections.LegPool) -> _Ping | None:
        try:
            # The intent file lies in the page cache: a slow disk does not delay its bytes.
            return _Ping(pool, pool.connect(pool.leg.intent_export))
        except failures.LegDied as exc:
            pool.dead = True
            epoch.blame(pool.device_id, failures.blamed_for(exc))
            return None

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            if self._watched is None:
                continue
            epoch, pings = self._watched
            if epoch.over:
                continue
            try:
                self._round(epoch, pings, self._clock.monotonic() + INTERVAL_S)
            except Exception:  # without a pulse every read would stop: say why, go on
                logger.exception("pulse_failed generation=%d", epoch.generation)

    def _round(self, epoch: Epoch, pings: list[_Ping], until_s: float) -> None:
        """Ping every leg that has no ping in flight; take answers until ``until_s`` or all came."""
        for ping in pings:
            if not ping.cookie and not ping.pool.dead:
                ping.sent_s = self._clock.monotonic()
                with _blaming(epoch, ping):
                    ping.cookie = ping.connection.nbd.aio_pread(ping.buffer, 0)
        fresher = False
        while True:
            by_fd = self._waiting(epoch, pings)
            left_s = until_s - self._clock.monotonic()
            if not by_fd or left_s <= 0 or epoch.over:
                break
            poller = select.poll()
            for fd in by_fd:
                poller.register(fd, select.POLLIN)
            for fd, _ in poller.poll(left_s * 1000):
                fresher = self._answer(epoch, by_fd[fd]) or fresher
        now = self._clock.monotonic()
        for ping in pings:
            if ping.cookie and not ping.pool.dead:
                _late(epoch, ping, now)
        if fresher:
            self._beat()

    def _waiting(self, epoch: Epoch, pings: list[_Ping]) -> dict[int, _Ping]:
        """Pings in flight by descriptor; a connection that has died meanwhile has none."""
        by_fd = {}
        for ping in pings:
            if ping.cookie and not ping.pool.dead:
                with _blaming(epoch, ping):
                    by_fd[ping.connection.nbd.aio_get_fd()] = ping
        return by_fd

    def _answer(self, epoch: Epoch, ping: _Ping) -> bool:
        with _blaming(epoch, ping):
            ping.connection.nbd.aio_notify_read()
            if ping.connection.nbd.aio_command_completed(ping.cookie):
                ping.cookie, ping.attempt = 0, None
                ping.pool.pulse_s = ping.sent_s
                return True
        return False


def _late(epoch: Epoch, ping: _Ping, now: float) -> None:
    """A ping was not answered in its round."""
    if ping.attempt is None:
        ping.attempt = way.Attempt(ping.pool.leg)
    if now - ping.sent_s >= model.PULSE_S:
        epoch.blame(ping.pool.device_id, "unreached" if ping.attempt.failed else "suspects")


class _blaming:  # noqa: N801 - reads as a word where it is used
    """An error of libnbd means that the leg's connection is gone."""

    def __init__(self, epoch: Epoch, ping: _Ping) -> None:
        self._epoch = epoch
        self._ping = ping

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, exc: object, trace: object) -> bool:
        if kind is None or not issubclass(kind, nbd.Error):
            return False
        self._ping.cookie = 0
        self._ping.pool.dead = True
        self._epoch.blame(self._ping.pool.device_id, "suspects")
        return True

"""Connections to one leg (a volume's part on one device) in one generation, through libnbd.

A request has a connection to itself while it runs, so nothing is multiplexed and a connection
that did not finish everything is thrown away, never reused. ``close`` shuts every socket at once:
whoever waits in libnbd wakes with an error.
"""

import collections
import contextlib
import errno
import os
import pathlib
import socket
import threading
import time

import nbd

from appliance.domain import model
from nbd_plugin import failures

#: A TCP connection or NBD handshake that takes longer has failed.
CONNECT_TIMEOUT_S = 1.5

#: The kernel gives up a connection whose data nobody acknowledged for so long (milliseconds).
_TCP_USER_TIMEOUT_MS = 10_000


class Connection:
    """One NBD connection. ``nbd`` is libnbd's handle; only one thread uses it at a time."""

    __slots__ = ("_releasing", "_sock", "nbd")

    def __init__(self, leg: model.Leg, export: str) -> None:
        """Connect and shake hands. Raises failures.LegDied."""
        sock = _connect(leg)
        self._sock = sock
        # A descriptor closed between two threads' calls could be another connection's by then.
        self._releasing = threading.Lock()
        handle = nbd.NBD()
        handle.set_export_name(export)
        handle.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
        # Bounds are checked once, by the volume; libnbd need not repeat it for each request.
        handle.set_strict_mode(0)
        handle.set_pread_initialize(False)
        self.nbd = handle
        try:
            handle.aio_connect_socket(os.dup(sock.fileno()))
            deadline = time.monotonic() + CONNECT_TIMEOUT_S
            while handle.aio_is_connecting():
                left_ms = int((deadline - time.monotonic()) * 1000)
                if left_ms <= 0 or handle.poll(left_ms) == 0:
                    raise failures.LegDied(device=leg.device_id, why="the handshake took too long")
            if not handle.aio_is_ready():
                raise failures.LegDied(device=leg.device_id, why="the handshake failed")
        except nbd.Error as exc:
            sock.close()
            raise failures.LegDied(device=leg.device_id, why=exc.string) from exc
        except failures.LegDied:
            sock.close()
            raise

    def alive(self) -> bool:
        return not (self.nbd.aio_is_dead() or self.nbd.aio_is_closed())

    def usable(self) -> bool:
        """Alive and with nothing in flight, so fit for the next request."""
        return bool(self.nbd.aio_is_ready()) and self.nbd.aio_in_flight() == 0

    def release(self) -> None:
        """Make every call on this connection fail now, in whatever thread it is. Idempotent.

        libnbd waits on a descriptor of its own for the same socket, so this one may be closed
        while a request is in flight.
        """
        with self._releasing, contextlib.suppress(OSError):
            try:
                self._sock.shutdown(socket.SHUT_RDWR)
            finally:
                self._sock.close()


class LegPool:
    """Connections to one leg, handed out one to a request.

    ``pulse_s`` is when the newest answered ping was sent (R6), on the pinger's clock.
    ``busy`` counts requests that use the leg now, ``turn`` those it ever read; both are hints
    for balance and may be off by a few. ``dead``: a connection died or could not be made.
    """

    def __init__(self, leg: model.Leg) -> None:
        self.leg = leg
        self.device_id = leg.device_id
        self.busy = 0
        self.turn = 0
        self.dead = False
        self.pulse_s = float("-inf")
        self.closed = False
        self._idle: collections.deque[Connection] = collections.deque()
        self._all: set[Connection] = set()
        self._lock = threading.Lock()

    def take(self) -> Connection:
        """An idle connection, or a new one. Raises failures.LegDied."""
        try:
            return self._idle.popleft()
        except IndexError:
            return self.connect(self.leg.data_export)

    def connect(self, export: str) -> Connection:
        """A connection to ``export`` that lives no longer than the pool."""
        self._check_open()
        connection = Connection(self.leg, export)
        with self._lock:
            try:
                self._check_open()
            except failures.LegDied:
                connection.release()
                raise
            self._all.add(connection)
        return connection

    def _check_open(self) -> None:
        if self.closed:
            raise failures.LegDied(device=self.device_id, why="its generation is over")

    def put(self, connection: Connection) -> None:
        """Give back a connection on which everything was answered."""
        self._idle.appendleft(connection)

    def discard(self, connection: Connection) -> None:
        """Throw away a connection that failed, or on which something is still in flight."""
        with self._lock:
            self._all.discard(connection)
        connection.release()

    def close(self) -> None:
        """End the leg's generation for this client: nothing more is sent, every waiter wakes."""
        with self._lock:
            self.closed = True
            connections = list(self._all)
        for connection in connections:
            connection.release()

    def failure(self, connection: Connection, command: str, exc: nbd.Error) -> Exception:
        """What ``exc`` means: the server refused, or the connection is gone."""
        # A server that is ending answers ESHUTDOWN: nothing is wrong with its disk.
        if connection.alive() and exc.errnum != errno.ESHUTDOWN:
            number = exc.errnum or errno.EIO
            return failures.LegRefused(self.device_id, command, number, exc.string)
        return failures.LegDied(device=self.device_id, why=exc.string)


def _connect(leg: model.Leg) -> socket.socket:
    """A connected stream socket: the server's Unix socket where it is on this host, else TCP."""
    why = "it has no address"
    if leg.socket and pathlib.Path(leg.socket).exists():
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(CONNECT_TIMEOUT_S)
            sock.connect(leg.socket)
            return sock
        except OSError as exc:
            sock.close()
            why = str(exc)
    for host in leg.hosts:
        try:
            sock = socket.create_connection((host, leg.port), CONNECT_TIMEOUT_S)
        except OSError as exc:
            why = f"{host}:{leg.port}: {exc}"
            continue
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _TCP_USER_TIMEOUT_MS)
        return sock
    raise failures.LegDied(device=leg.device_id, why=why)

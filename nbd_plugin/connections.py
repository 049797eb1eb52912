"""Connections to one leg (a volume's part on one device) in one generation, through libnbd.

A request has a connection to itself while it runs, so nothing is multiplexed and a connection
that did not finish everything is thrown away, never reused. ``close`` shuts every socket at once:
whoever waits on one wakes with an error.
"""

import collections
import contextlib
import errno
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import nbd

from appliance.common import clock as clocks
from appliance.common import tls
from appliance.domain import model
from nbd_plugin import failures, lanes, secured, way

#: A TCP connection or NBD handshake that takes longer has failed: unless the pulse of
#: its leg goes on, for slowness is not death. Seconds.
CONNECT_TIMEOUT_S = 1.5

#: However well the pulse is, nobody waits longer for a connection. Seconds.
CONNECT_LIMIT_S = 30.0

#: How often one who waits for a connection looks at the pulse. Seconds.
_LOOK_S = 0.1

#: The kernel gives up a connection whose data nobody acknowledged for so long (milliseconds).
_TCP_USER_TIMEOUT_MS = 10_000


#: Whether a connection begun ``waited_s`` seconds ago is still waited for.
Patience = Callable[[float], bool]

C = TypeVar("C", "Connection", lanes.Lane)


class Connection:
    """One NBD connection. ``nbd`` is libnbd's handle; only one thread uses it at a time."""

    __slots__ = ("_releasing", "_sock", "nbd")

    def __init__(
        self, leg: model.Leg, export: str, patient: Patience, data_tls: tls.DataTls
    ) -> None:
        """Connect and shake hands, for as long as ``patient``. Raises failures.LegDied."""
        # A descriptor closed between two threads' calls could be another connection's by then.
        self._releasing = threading.Lock()
        if data_tls.on:
            self.nbd, self._sock = _secured(leg, export, patient, data_tls, structured=True)
        else:
            self._sock = _connect(leg, patient)
            self.nbd = _shake_hands(leg, export, self._sock, patient, structured=True)

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

    def close(self) -> None:
        """Only for the one thread that uses the connection, and for good: libnbd closes its
        descriptor with the last reference to its handle."""
        self.release()
        del self.nbd


class LegPool:
    """Connections to one leg, handed out one to a request.

    ``pulse_s`` is when the newest answered ping was sent (R6), on ``clock``.
    ``busy`` counts requests that use the leg now, ``turn`` those it ever read; both are hints
    for balance and may be off by a few. ``dead``: a connection died or could not be made.
    """

    def __init__(
        self,
        leg: model.Leg,
        clock: clocks.Clock | None = None,
        data_tls: tls.DataTls = tls.NONE,
    ) -> None:
        self._clock = clock or clocks.SystemClock()
        self.leg = leg
        self._tls = data_tls
        self.device_id = leg.device_id
        self.busy = 0
        self.turn = 0
        self.dead = False
        self.pulse_s = float("-inf")
        self.closed = False
        self._idle: collections.deque[Connection] = collections.deque()
        self._idle_lanes: collections.deque[lanes.Lane] = collections.deque()
        self._all: set[Connection | lanes.Lane] = set()
        self._lock = threading.Lock()

    def take(self) -> Connection:
        """An idle connection, or a new one. Raises failures.LegDied."""
        try:
            return self._idle.popleft()
        except IndexError:
            return self.connect(self.leg.data_export)

    def connect(self, export: str) -> Connection:
        """A connection to ``export`` that lives no longer than the pool."""
        return self._made(lambda: Connection(self.leg, export, self._patient, self._tls))

    def take_lane(self) -> lanes.Lane:
        """An idle lane, or a new one. Raises failures.LegDied."""
        try:
            return self._idle_lanes.popleft()
        except IndexError:
            return self._made(lambda: _lane(self.leg, self._patient, self._tls))

    def _made(self, make: Callable[[], C]) -> C:
        self._check_open()
        try:
            connection = make()
        except failures.LegDied:
            self._check_open()  # then that is why
            raise
        with self._lock:
            try:
                self._check_open()
            except failures.LegDied:
                connection.close()
                raise
            self._all.add(connection)
        return connection

    def _patient(self, waited_s: float) -> bool:
        """A server that answers pings is slow, not dead; one whose pulse stopped is let go."""
        if self.closed or waited_s >= CONNECT_LIMIT_S:
            return False
        beats = self._clock.monotonic() - self.pulse_s < model.PULSE_S
        return beats or waited_s < CONNECT_TIMEOUT_S

    def _check_open(self) -> None:
        if self.closed:
            raise failures.LegDied(device=self.device_id, why="its generation is over")

    def put(self, connection: Connection) -> None:
        """Give back a connection on which everything was answered."""
        self._idle.appendleft(connection)
        if self.closed:
            self._idle.clear()

    def put_lane(self, lane: lanes.Lane) -> None:
        """Give back a lane on which everything was answered."""
        self._idle_lanes.appendleft(lane)
        if self.closed:
            self._close_idle_lanes()

    def discard(self, connection: Connection | lanes.Lane) -> None:
        """Throw away a connection that failed, or on which something is still in flight."""
        with self._lock:
            self._all.discard(connection)
        connection.close()

    def close(self) -> None:
        """End the leg's generation for this client: nothing more is sent, every waiter wakes.

        Nothing is kept here, or descriptors would stay open for as long as anybody remembers the
        pool: who still uses a connection has the last reference.
        """
        with self._lock:
            self.closed = True
            connections = list(self._all)
            self._all.clear()
        for connection in connections:
            connection.release()
        self._idle.clear()
        self._close_idle_lanes()

    def _close_idle_lanes(self) -> None:
        """Those in use are closed by their users."""
        with contextlib.suppress(IndexError):
            while True:
                self.discard(self._idle_lanes.popleft())

    def failure(self, connection: Connection, command: str, exc: nbd.Error) -> Exception:
        """What ``exc`` means: the server refused, or the connection is gone."""
        # A server that is ending answers ESHUTDOWN: nothing is wrong with its disk.
        if connection.alive() and exc.errnum != errno.ESHUTDOWN:
            number = exc.errnum or errno.EIO
            return failures.LegRefused(self.device_id, command, number, exc.string)
        return failures.LegDied(device=self.device_id, why=exc.string)


def _lane(leg: model.Leg, patient: Patience, data_tls: tls.DataTls) -> lanes.Lane:
    """Connect and shake hands. Raises failures.LegDied."""
    if data_tls.on:
        handle, sock = _secured(leg, leg.data_export, patient, data_tls, structured=False)
        return secured.SecuredLane(leg.device_id, handle, sock)
    sock = _connect(leg, patient)
    _shake_hands(leg, leg.data_export, sock, patient, structured=False)
    sock.setblocking(True)  # libnbd's own descriptor is gone by now
    return lanes.Lane(leg.device_id, sock)


def _shake_hands(
    leg: model.Leg, export: str, sock: socket.socket, patient: Patience, structured: bool
) -> nbd.NBD:
    """Libnbd's handle, ready for commands; ``sock`` is closed if that fails (failures.LegDied).

    ``structured`` replies cost a call more at both ends for each read; block status needs them.
    """
    handle = _handle(export, structured)
    try:
        handle.aio_connect_socket(os.dup(sock.fileno()))
        _until_ready(handle, leg, patient)
    except nbd.Error as exc:
        sock.close()
        raise failures.LegDied(device=leg.device_id, why=exc.string) from exc
    except failures.LegDied:
        sock.close()
        raise
    return handle


def _secured(
    leg: model.Leg, export: str, patient: Patience, data_tls: tls.DataTls, structured: bool
) -> tuple[nbd.NBD, socket.socket]:
    """Libnbd's handle, ready for commands, and a descriptor to end its connection by.

    By TCP only, and libnbd connects: it checks a certificate against the address it went to.
    """
    why = "it has no address"
    for index, host in enumerate(leg.hosts):
        handle = _handle(export, structured)
        data_tls.prepare(handle)
        try:
            handle.aio_connect_tcp(host, str(leg.port))
            _until_ready(handle, leg, patient if index == len(leg.hosts) - 1 else _hurried)
            sock = socket.socket(fileno=os.dup(handle.aio_get_fd()))
        except nbd.Error as exc:
            why = f"{host}:{leg.port}: {exc.string}"
        except failures.LegDied as exc:
            why = f"{host}:{leg.port}: {exc}"
        else:
            _tune(sock)
            return handle, sock
    raise failures.LegDied(device=leg.device_id, why=why)


def _handle(export: str, structured: bool) -> nbd.NBD:
    handle = nbd.NBD()
    handle.set_export_name(export)
    if structured:
        handle.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
    handle.set_request_structured_replies(structured)
    # Bounds are checked once, by the volume; libnbd need not repeat it for each request.
    handle.set_strict_mode(0)
    handle.set_pread_initialize(False)
    return handle


def _until_ready(handle: nbd.NBD, leg: model.Leg, patient: Patience) -> None:
    """Raises failures.LegDied or nbd.Error."""
    began = time.monotonic()
    while handle.aio_is_connecting():
        if not patient(time.monotonic() - began):
            raise failures.LegDied(device=leg.device_id, why="the handshake took too long")
        handle.poll(int(_LOOK_S * 1000))
    if not handle.aio_is_ready():
        raise failures.LegDied(device=leg.device_id, why="the handshake failed")


def _tune(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _TCP_USER_TIMEOUT_MS)


def _connect(leg: model.Leg, patient: Patience) -> socket.socket:
    """A connected stream socket: the server's Unix socket where it is on this host, else TCP."""
    why = "it has no address"
    silent = bool(leg.hosts)
    if leg.socket:  # on this host, or the path of another host's
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _until_connected(sock, leg.socket, patient)
            return sock
        except OSError as exc:
            sock.close()
            why = str(exc)
    for index, host in enumerate(leg.hosts):
        # An address of several may be on a network that is gone while the pulse goes by another.
        last = index == len(leg.hosts) - 1
        try:
            sock = _tcp(host, leg.port, patient if last else _hurried)
        except OSError as exc:
            why = f"{host}:{leg.port}: {exc}"
            silent = silent and way.no_answer(exc)
            continue
        _tune(sock)
        return sock
    kind = failures.LegUnreached if silent else failures.LegDied
    raise kind(device=leg.device_id, why=why)


def _hurried(waited_s: float) -> bool:
    return waited_s < CONNECT_TIMEOUT_S


def _tcp(host: str, port: int, patient: Patience) -> socket.socket:
    """Raises OSError."""
    error: OSError = OSError(errno.EADDRNOTAVAIL, "the name has no address")
    for family, kind, proto, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, proto)
        try:
            _until_connected(sock, address, patient)
            return sock
        except OSError as exc:
            sock.close()
            error = exc
    raise error


def _until_connected(sock: socket.socket, address: Any, patient: Patience) -> None:
    """Raises OSError. A full backlog is a server that is slow to accept: EAGAIN of a Unix socket
    means try again, TCP does so by itself."""
    sock.setblocking(False)
    began = time.monotonic()
    number = sock.connect_ex(address)
    while number in (errno.EINPROGRESS, errno.EAGAIN):
        if not patient(time.monotonic() - began):
            raise TimeoutError("timed out")
        if number == errno.EAGAIN:
            time.sleep(_LOOK_S)
            number = sock.connect_ex(address)
            continue
        poller = select.poll()
        poller.register(sock, select.POLLOUT)
        if poller.poll(_LOOK_S * 1000):
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        raise OSError(number, os.strerror(number))
    sock.setblocking(True)

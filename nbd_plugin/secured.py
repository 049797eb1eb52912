"""A lane through TLS: libnbd keeps the socket, for it alone has the session's keys.

Same methods and same errors as ``lanes.Lane``, at the price of libnbd's system calls.
"""

import contextlib
import errno
import socket

import nbd

from nbd_plugin import failures, lanes

#: How often one who waits looks whether libnbd gave the connection up (milliseconds).
_LOOK_MS = 1000


class SecuredLane(lanes.Lane):
    """``sock`` is a descriptor of its own for the socket of ``handle``, to end it by."""

    __slots__ = ("_cookie_sent", "_handle", "_name")

    def __init__(self, device: str, handle: nbd.NBD, sock: socket.socket) -> None:
        super().__init__(device, sock)
        self._name = device
        self._handle = handle
        self._cookie_sent = 0

    def read(self, view: memoryview, offset: int) -> None:
        try:
            self._wait(self._handle.aio_pread(view, offset))
        except nbd.Error as exc:
            raise self._failure("read", exc) from exc

    def begin_write(self, view: memoryview, offset: int, flags: int) -> None:
        try:
            self._cookie_sent = self._handle.aio_pwrite(view, offset, flags=flags)
        except nbd.Error as exc:
            raise self._failure("write", exc) from exc

    def acknowledged(self) -> None:
        try:
            self._wait(self._cookie_sent)
        except nbd.Error as exc:
            raise self._failure("write", exc) from exc

    def close(self) -> None:
        """Only for the one thread that uses the lane."""
        with self._releasing, contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        super().close()
        del self._handle

    def _wait(self, cookie: int) -> None:
        while not self._handle.aio_command_completed(cookie):
            if self._handle.aio_is_dead() or self._handle.aio_is_closed():
                raise failures.LegDied(device=self._name, why="the connection ended")
            self._handle.poll(_LOOK_MS)

    def _failure(self, command: str, exc: nbd.Error) -> Exception:
        """What ``exc`` means: the server refused, or the connection is gone."""
        alive = not (self._handle.aio_is_dead() or self._handle.aio_is_closed())
        # A server that is ending answers ESHUTDOWN: nothing is wrong with its disk.
        if alive and exc.errnum != errno.ESHUTDOWN:
            return failures.LegRefused(self._name, command, exc.errnum or errno.EIO, exc.string)
        return failures.LegDied(device=self._name, why=exc.string)

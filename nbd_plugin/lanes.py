"""The short way to a leg: one read or small write at a time, in the fewest system calls.

libnbd shakes hands, then the socket is ours: what follows of the NBD protocol (doc/proto.md of
NetworkBlockDevice/nbd, "Transmission phase", simple replies) is a header of 28 bytes there and one
of 16 bytes back. Header and data go out in one call, and come back straight into nbdkit's buffer;
libnbd needs six calls for a read and four for a write, we two. What is not read or written goes
through libnbd (``connections.Connection``), and so does what is large enough to be moved on several
legs at once.
"""

import contextlib
import errno
import socket
import struct
import threading

from nbd_plugin import failures

_REQUEST = struct.Struct(">IHHQQI")  # magic, flags, command, cookie, offset, length
_REPLY = struct.Struct(">IIQ")  # magic, error, cookie

_REQUEST_MAGIC = 0x25609513
_REPLY_MAGIC = 0x67446698

_READ = 0
_WRITE = 1
_COMMANDS = ("read", "write")


class Lane:
    """A socket in NBD's transmission phase; only one thread uses it at a time.

    After failures.LegRefused it is fit for the next request; after any other error it is not.
    """

    __slots__ = ("_command", "_cookie", "_device", "_releasing", "_reply", "_sock")

    def __init__(self, device: str, sock: socket.socket) -> None:
        """``sock`` blocks, and nothing is in flight on it."""
        self._device = device
        self._sock = sock
        self._releasing = threading.Lock()
        self._reply = memoryview(bytearray(_REPLY.size))
        self._cookie = 0
        self._command = _READ

    def read(self, view: memoryview, offset: int) -> None:
        """Fill ``view``. Raises failures.LegDied or failures.LegRefused."""
        try:
            self._sock.sendall(self._request(_READ, 0, offset, len(view)))
            got = self._sock.recvmsg_into((self._reply, view))[0]
            if got < _REPLY.size:
                self._receive(self._reply[got:])
                got = _REPLY.size
            self._check()
            if got < _REPLY.size + len(view):
                self._receive(view[got - _REPLY.size :])
        except OSError as exc:
            raise failures.LegDied(device=self._device, why=str(exc)) from exc

    def begin_write(self, view: memoryview, offset: int, flags: int) -> None:
        """Send a write; ``acknowledged`` must follow. Raises failures.LegDied."""
        head = self._request(_WRITE, flags, offset, len(view))
        try:
            sent = self._sock.sendmsg((head, view))
            if sent < len(head):
                self._sock.sendall(head[sent:])
                sent = len(head)
            if sent < len(head) + len(view):
                self._sock.sendall(view[sent - len(head) :])
        except OSError as exc:
            raise failures.LegDied(device=self._device, why=str(exc)) from exc

    def acknowledged(self) -> None:
        """Wait for the write's reply. Raises failures.LegDied or failures.LegRefused."""
        try:
            self._receive(self._reply)
        except OSError as exc:
            raise failures.LegDied(device=self._device, why=str(exc)) from exc
        self._check()

    def release(self) -> None:
        """Make the call that waits on this lane, in whatever thread it is, fail. Idempotent.

        The descriptor stays open: closed in the middle of that thread's calls its number could be
        another connection's by then, and the rest of a write would go there.
        """
        with self._releasing, contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Only for the one thread that uses the lane."""
        with self._releasing:
            self._sock.close()

    def _request(self, command: int, flags: int, offset: int, length: int) -> bytes:
        self._command = command
        self._cookie += 1
        return _REQUEST.pack(_REQUEST_MAGIC, flags, command, self._cookie, offset, length)

    def _receive(self, view: memoryview) -> None:
        while view:
            got = self._sock.recv_into(view)
            if not got:
                raise ConnectionResetError(errno.ECONNRESET, "the server hung up")
            view = view[got:]

    def _check(self) -> None:
        magic, error, cookie = _REPLY.unpack(self._reply)
        if magic != _REPLY_MAGIC or cookie != self._cookie:
            raise failures.LegDied(device=self._device, why="the reply is to no request of ours")
        # A server that is ending answers ESHUTDOWN: nothing is wrong with its disk.
        if error == errno.ESHUTDOWN:
            raise failures.LegDied(device=self._device, why="the server is ending")
        if error:
            # NBD's numbers are Linux's (doc/proto.md, "Error values").
            raise failures.LegRefused(
                self._device, _COMMANDS[self._command], error, errno.errorcode.get(error, "error")
            )

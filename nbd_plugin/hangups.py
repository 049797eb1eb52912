"""Clients that hung up: whoever writes waits until nothing of them can land any more.

The kernel's NBD gives a connection up that did not answer in time, and sends its requests again on
another one, while this process may still have the first copies, read or not, of the old one. A
write that came later must not be overtaken by such a copy (R5, seen from the client's side). So a
write waits while another connection is hung up; nbdkit closes that one once its threads are done.

Who is hung up itself begins nothing more: nobody gets its answers, so its requests are sent again,
on connections that wait for its end. That also keeps threads few while I/O waits for long: only
writes that were begun stay behind. The kernel shuts a connection before it sends anything again.
"""

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable
from threading import Lock

from nbd_plugin import failures

_PAUSE_S = 0.002

#: Far longer than nbdkit takes from one answer that fails to knowing so.
_APART_S = 0.02

#: struct pollfd: descriptor, POLLIN, what is returned.
_POLLFD_BYTES = 8


class Hangups:
    """``own`` in an open callback, ``wait`` in each callback that writes, ``gone`` while one that
    may be given up waits."""

    def __init__(self, not_clients: str = "") -> None:
        """``not_clients``: path of a Unix socket of this process whose connections are others'."""
        self._not_clients = not_clients
        self._epoll = select.epoll()
        self._mutex = Lock()
        self._leaving = Lock()
        self._unclaimed: set[int] = set()
        self._any = _quick_look(self._epoll)

    def own(self) -> frozenset[int]:
        """Descriptors one of which is that of the connection that was just opened."""
        with self._mutex:
            there = self._clients()
            new = {fd for fd in there if self._watch(fd)}
            self._unclaimed = (self._unclaimed & there) | new
            found = frozenset(self._unclaimed)
            if len(found) == 1:
                self._unclaimed = set()
            return found

    def wait(self, own: frozenset[int]) -> None:
        """Until no other connection is hung up. Raises failures.ClientGone if the own one is."""
        while self._any():
            hung_up = self._hung_up()
            if own and own <= hung_up:
                raise failures.ClientGone
            if hung_up <= own:
                return
            time.sleep(_PAUSE_S)

    def gone(self, own: frozenset[int]) -> bool:
        """Whether the own connection is hung up."""
        return bool(self._any() and own) and own <= self._hung_up()

    def one_by_one(self) -> None:
        """Before an answer that nobody gets. nbdkit 1.32 aborts when two threads answer a client
        that hung up at once (connections.c: raw_send_socket's assertion); it leaves the second
        one's answer out once it saw the first one's fail."""
        with self._leaving:
            time.sleep(_APART_S)

    def _hung_up(self) -> set[int]:
        return {fd for fd, _events in self._epoll.poll(0)}

    def _watch(self, fd: int) -> bool:
        """Whether it was not watched yet. Closed ones leave an epoll by themselves."""
        try:
            self._epoll.register(fd, select.EPOLLRDHUP)
        except OSError:  # it is, or was closed just now
            return False
        return True

    def _clients(self) -> set[int]:
        found = set()
        for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 (names are all)
            with contextlib.suppress(OSError):
                if self._is_client(int(name)):
                    found.add(int(name))
        return found

    def _is_client(self, fd: int) -> bool:
        """A connection that was accepted on a Unix socket: those made by connect have no name."""
        looked = socket.socket(fileno=fd)  # OSError if it is no socket
        try:
            return (
                looked.family == socket.AF_UNIX
                and looked.getsockname() not in ("", self._not_clients)
                and not looked.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            )
        finally:
            looked.detach()


def _quick_look(epoll: select.epoll) -> Callable[[], object]:
    """Whether ``epoll`` has news. Through ctypes, where there is one, as that keeps the GIL:
    giving it up for a microsecond at each write costs a fight for it."""
    try:
        import ctypes  # an optional part of Python

        poll = ctypes.PyDLL(None).poll
    except (ImportError, OSError, AttributeError):
        return lambda: epoll.poll(0)
    asked = ctypes.create_string_buffer(
        epoll.fileno().to_bytes(4, "little") + select.POLLIN.to_bytes(2, "little"), _POLLFD_BYTES
    )
    poll.argtypes = (ctypes.c_void_p, ctypes.c_ulong, ctypes.c_int)
    address = ctypes.addressof(asked)

    def _look(_kept: object = asked) -> int:
        return int(poll(address, 1, 0))

    return _look

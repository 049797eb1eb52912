"""Is the way to a leg's host open? Asked by the pulse while a ping is late.

A host's kernel answers a TCP connection, or refuses it, however busy, stopped or dead the server
is. Where nothing answers the link or the host is gone, and a new server there would be of no use
to this client.
"""

import contextlib
import errno
import socket
import threading

from appliance.domain import model

#: A connection that nobody answered for so long has failed: long enough for a lost packet to be
#: sent again, and over before a late ping has to be judged. Seconds.
LIMIT_S = 1.25

_NO_ANSWER = (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH)


class Attempt:
    """Tries every address of ``leg`` at once. ``failed`` once nobody answered at any of them."""

    def __init__(self, leg: model.Leg) -> None:
        self._threads = [
            threading.Thread(
                target=self._try, args=(host, leg.port), name="basalt-way", daemon=True
            )
            for host in leg.hosts
        ]
        self._silent: list[str] = []
        for thread in self._threads:
            thread.start()

    @property
    def failed(self) -> bool:
        return bool(self._threads) and len(self._silent) == len(self._threads)

    def wait(self) -> None:
        """Until every address was tried."""
        for thread in self._threads:
            thread.join()

    def _try(self, host: str, port: int) -> None:
        try:
            with contextlib.closing(socket.create_connection((host, port), LIMIT_S)):
                return
        except OSError as exc:
            if no_answer(exc):
                self._silent.append(host)


def no_answer(exc: OSError) -> bool:
    """Whether a connection failed because nobody answered, not even to refuse it."""
    return isinstance(exc, TimeoutError) or exc.errno in _NO_ANSWER

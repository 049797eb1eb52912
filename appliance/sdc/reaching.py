"""Tries the lost replicas the MDM names: does this client reach their servers again?

One thread for all mappings, asleep while nothing is lost. What was reached is not tried again in
its generation, so that a server is bothered once.
"""

import functools
import logging
import socket
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from pathlib import Path

from appliance.protocol import messages

logger = logging.getLogger(__name__)

#: Time between two tries of a server that was not reached. Seconds.
_INTERVAL_S = 1.0

#: Longest wait for a connection or a greeting. Seconds.
_TIMEOUT_S = 1.0

_THREADS = 8

#: How a server of the NBD protocol greets (doc/proto.md, newstyle), with its flags.
_GREETING = b"NBDMAGICIHAVEOPT"
_GREETING_BYTES = len(_GREETING) + 2

#: The answer: client flags 3, then NBD_OPT_ABORT, so that the server ends in peace.
_GOODBYE = struct.pack(">I8sII", 3, b"IHAVEOPT", 2, 0)


class Reaching:
    """Thread-safe. ``news`` is called when a server was reached."""

    def __init__(self, news: Callable[[], None]) -> None:
        self._news = news
        self._changed = threading.Condition()
        self._wanted: dict[str, tuple[messages.Probe, ...]] = {}
        self._reached: set[messages.Probe] = set()
        self._closed = False
        self._thread: threading.Thread | None = None

    def want(self, probes: Mapping[str, Sequence[messages.Probe]]) -> None:
        """Try these from now on, by mapping, and no others."""
        with self._changed:
            self._wanted = {ident: tuple(each) for ident, each in probes.items() if each}
            self._reached &= {probe for each in self._wanted.values() for probe in each}
            if self._wanted and self._thread is None:
                self._thread = threading.Thread(target=self._run, name="reaching", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def reached(self, mapping_id: str) -> dict[str, int]:
        """Devices of the mapping that answered, each with its probe's generation."""
        with self._changed:
            wanted = self._wanted.get(mapping_id, ())
            return {p.device_id: p.generation for p in wanted if p in self._reached}

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(3 * _TIMEOUT_S)

    def _run(self) -> None:
        with futures.ThreadPoolExecutor(_THREADS, "reach") as executor:
            while (missing := self._missing()) is not None:
                found = list(executor.map(reach, missing))
                with self._changed:
                    self._reached |= {p for p, came in zip(missing, found, strict=True) if came}
                if any(found):
                    self._news()
                with self._changed:
                    if not self._closed:
                        self._changed.wait(_INTERVAL_S)

    def _missing(self) -> list[messages.Probe] | None:
        """Wait for something to try; None at the end."""
        with self._changed:
            while not self._closed:
                wanted = {probe for each in self._wanted.values() for probe in each}
                if missing := wanted - self._reached:
                    return list(missing)
                self._changed.wait()
            return None


def reach(probe: messages.Probe) -> bool:
    """Whether the server answers now, at any of its addresses."""
    ways: list[Callable[[messages.Probe], socket.socket]] = []
    if probe.socket and Path(probe.socket).exists():
        ways.append(_unix)
    ways += [functools.partial(_tcp, host) for host in probe.hosts]
    for connect in ways:
        try:
            with connect(probe) as peer:
                if _greets(peer, probe.data):
                    return True
        except OSError as exc:
            logger.debug("not_reached device=%s why=%s", probe.device_id, exc)
    return False


def _unix(probe: messages.Probe) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(_TIMEOUT_S)
    try:
        peer.connect(probe.socket)
    except OSError:
        peer.close()
        raise
    return peer


def _tcp(host: str, probe: messages.Probe) -> socket.socket:
    return socket.create_connection((host, probe.port), _TIMEOUT_S)


def _greets(peer: socket.socket, data: bool) -> bool:
    """A listening port is the kernel's word; the greeting is the data server's own.

    Raises OSError.
    """
    if not data:
        return True
    heard = b""
    while len(heard) < _GREETING_BYTES:
        more = peer.recv(_GREETING_BYTES - len(heard))
        if not more:
            return False
        heard += more
    peer.sendall(_GOODBYE)
    return heard.startswith(_GREETING)

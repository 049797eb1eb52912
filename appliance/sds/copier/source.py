"""Reading another replica over NBD: bytes, holes, and whole intent files.

Every call has a deadline; a connection that fails is dropped, and the caller tries again.
"""

import bisect
import collections
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import nbd

from appliance.common import clock, errors, tls
from appliance.domain import model

#: (offset, length) of ranges that read as zeroes.
Extents = list[tuple[int, int]]

_ZERO = 2  # NBD_STATE_ZERO of base:allocation
_LIMIT_S = 15.0


class Source:
    """One export of ``leg``. Thread-safe: connections are pooled. Every method raises
    errors.Unreachable if the server does not answer or refuses."""

    def __init__(
        self, leg: model.Leg, export: str, time: clock.Clock, data_tls: tls.DataTls
    ) -> None:
        self._leg = leg
        self._export = export
        self._time = time
        self._tls = data_tls
        self._idle: collections.deque[nbd.NBD] = collections.deque()

    def read(self, offset: int, length: int) -> bytearray:
        data = bytearray(length)
        self.read_into(data, offset)
        return data

    def read_into(self, data: bytearray | memoryview, offset: int) -> None:
        """Fill ``data``."""
        with self._connection() as handle:
            cookie = handle.aio_pread(data, offset)
            self._wait(handle, lambda: handle.aio_command_completed(cookie))

    def read_all(self) -> bytearray:
        with self._connection() as handle:
            size = handle.get_size()
        return self.read(0, size) if size else bytearray()

    def zeroes(self, offset: int, length: int) -> Extents:
        """Ranges in ``[offset, offset + length)`` that the server knows to be zeroes."""
        found: Extents = []
        end = offset + length
        with self._connection() as handle:
            while offset < end:
                before = offset
                offset = self._status(handle, offset, end, found)
                if offset == before:
                    raise errors.Unreachable(peer=self._name, why="it gave no block status")
        return found

    def _status(self, handle: nbd.NBD, offset: int, end: int, found: Extents) -> int:
        """One block status request; where the next one begins."""
        entries: list[int] = []

        def _extent(_context: str, _offset: int, pairs: list[int], _error: object) -> None:
            entries.extend(pairs)

        cookie = handle.aio_block_status(end - offset, offset, _extent)
        self._wait(handle, lambda: handle.aio_command_completed(cookie))
        for length, flags in zip(entries[::2], entries[1::2], strict=True):
            length = min(length, end - offset)
            if flags & _ZERO and length:
                found.append((offset, length))
            offset += length
        return offset

    @property
    def _name(self) -> str:
        return f"SDS {self._leg.sds_name}"

    @contextmanager
    def _connection(self) -> Iterator[nbd.NBD]:
        """A connection, kept for the next caller if all went well."""
        try:
            handle = self._idle.pop()
        except IndexError:
            handle = self._connected()
        try:
            yield handle
        except nbd.Error as exc:
            raise errors.Unreachable(peer=self._name, why=exc.string) from exc
        self._idle.append(handle)

    def _connected(self) -> nbd.NBD:
        why = "its map names no address"
        targets: list[tuple[str, Callable[[nbd.NBD], None]]] = []
        if self._leg.socket and not self._tls.on:
            targets.append(("socket", lambda h: h.aio_connect_unix(self._leg.socket)))
        for host in self._leg.hosts:
            targets.append((host, functools.partial(_connect_tcp, host, self._leg.port)))
        for where, connect in targets:
            handle = nbd.NBD()
            handle.set_export_name(self._export)
            handle.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
            handle.set_pread_initialize(False)  # what a failed read left is not looked at
            self._tls.prepare(handle)
            try:
                connect(handle)
                self._wait(handle, handle.aio_is_ready)
            except nbd.Error as exc:
                why = f"{where}: {exc.string}"
            except errors.Unreachable as exc:
                why = f"{where}: {exc}"
            else:
                return handle
        raise errors.Unreachable(peer=self._name, why=why)

    def _wait(self, handle: nbd.NBD, reached: Callable[[], bool]) -> None:
        deadline = self._time.monotonic() + _LIMIT_S
        while not reached():
            if handle.aio_is_dead() or handle.aio_is_closed():
                raise errors.Unreachable(peer=self._name, why="the connection ended")
            left_s = deadline - self._time.monotonic()
            if left_s <= 0:
                raise errors.Unreachable(peer=self._name, why=f"no answer in {_LIMIT_S:g} s")
            handle.poll(max(1, int(left_s * 1000)))


def _connect_tcp(host: str, port: int, handle: nbd.NBD) -> None:
    handle.aio_connect_tcp(host, str(port))


def all_within(extents: Extents, offset: int, length: int) -> bool:
    """Whether one of ``extents`` (ascending, neighbours joined or not) covers the range."""
    end = offset + length
    index = bisect.bisect_right(extents, (offset, 1 << 63)) - 1
    while 0 <= index < len(extents) and offset < end:
        start, size = extents[index]
        if not start <= offset < start + size:
            return False
        offset = start + size
        index += 1
    return offset >= end


def any_within(extents: Extents, offset: int, length: int) -> bool:
    """Whether one of ``extents`` (ascending) has a byte in the range."""
    index = bisect.bisect_left(extents, (offset + length, 0)) - 1
    return index >= 0 and sum(extents[index]) > offset

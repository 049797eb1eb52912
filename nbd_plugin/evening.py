"""A write that every copy of a column refused for lack of space: make the copies equal again (R5).

Each copy may have taken any part of it. Which part the application reads afterwards is open, as it
is after any failed write; that all copies read the same is not. Called by ``volume`` while the
request still has its range for itself (R9), so nothing else changes there.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

import nbd

from appliance.domain import layout
from nbd_plugin import connections, failures
from nbd_plugin.epoch import Epoch, Route

T = TypeVar("T")

#: What is compared at once.
_STEP_BYTES = 1 << 20

#: What is copied at once: file systems give space by such blocks.
_BLOCK_BYTES = 4096


def even_out(epoch: Epoch, offset: int, length: int) -> None:
    """Return once all copies of the range are equal, all under ``epoch``.

    Raises failures.EpochOver if they cannot be made so; a device was blamed for it then.
    """
    for column, start, size in layout.split(offset, length, epoch.ncols):
        route = epoch.routes[column]
        for at in range(start, start + size, _STEP_BYTES):
            _even(epoch, route, at, min(_STEP_BYTES, start + size - at))
    epoch.check()


def _even(epoch: Epoch, route: Route, start: int, length: int) -> None:
    if not route.readers:
        raise failures.EpochOver(generation=epoch.generation, why="no copy can be read")
    one = route.readers[0]
    for other in route.written:
        for at, size in _differing(epoch, one, other, start, length):
            # What one copy has is as good as what the other has, as long as both can have it. One
            # that refused lacks a block that the other got: there the other can go back.
            if _copied(epoch, one, other, at, size):
                continue
            if other not in route.readers or not _copied(epoch, other, one, at, size):
                raise _blamed(epoch, other, "full")
    for other in route.written:
        if next(_differing(epoch, one, other, start, length), None) is not None:
            raise _blamed(epoch, other, "full")


def _differing(
    epoch: Epoch,
    one: connections.LegPool,
    other: connections.LegPool,
    start: int,
    length: int,
) -> Iterator[tuple[int, int]]:
    """(offset, length) of the parts of at most a block that differ."""
    if one is other:
        return
    mine, theirs = _read(epoch, one, start, length), _read(epoch, other, start, length)
    if mine == theirs:
        return
    at = start
    while at < start + length:
        end = min((at // _BLOCK_BYTES + 1) * _BLOCK_BYTES, start + length)
        if mine[at - start : end - start] != theirs[at - start : end - start]:
            yield at, end - at
        at = end


def _copied(
    epoch: Epoch,
    source: connections.LegPool,
    target: connections.LegPool,
    start: int,
    length: int,
) -> bool:
    """Whether ``target`` had room for what ``source`` has now."""
    data = _read(epoch, source, start, length)
    hole = 0 if epoch.map.thin else nbd.CMD_FLAG_NO_HOLE

    def write(handle: nbd.NBD) -> None:
        if any(data):
            handle.pwrite(data, start)
        else:
            handle.zero(length, start, flags=hole)  # gives space back

    try:
        _ask(epoch, target, "write", write)
    except failures.LegRefused as exc:
        if exc.full:
            return False
        raise _blamed(epoch, target, "failed") from exc
    return True


def _read(epoch: Epoch, pool: connections.LegPool, start: int, length: int) -> bytes:
    try:
        return bytes(_ask(epoch, pool, "read", lambda handle: handle.pread(length, start)))
    except failures.LegRefused as exc:
        raise _blamed(epoch, pool, "failed") from exc


def _ask(epoch: Epoch, pool: connections.LegPool, name: str, call: Callable[[nbd.NBD], T]) -> T:
    """Raises failures.LegRefused, or failures.EpochOver if the leg died."""
    try:
        connection = pool.take()
    except failures.LegDied as exc:
        pool.dead = True
        raise _blamed(epoch, pool, failures.blamed_for(exc)) from exc
    try:
        answer = call(connection.nbd)
    except nbd.Error as exc:
        failure = pool.failure(connection, name, exc)
        if isinstance(failure, failures.LegRefused) and connection.usable():
            pool.put(connection)
            raise failure from exc
        pool.discard(connection)
        pool.dead = True
        raise _blamed(epoch, pool, "suspects") from exc
    pool.put(connection)
    return answer


def _blamed(epoch: Epoch, pool: connections.LegPool, kind: str) -> failures.EpochOver:
    epoch.blame(pool.device_id, kind)
    why = f"device {pool.device_id} cannot be made equal after a write was refused"
    return failures.EpochOver(generation=epoch.generation, why=why)

"""One attempt at a read or at block status under one epoch: from which replica, and what it says.

With ``changing`` this is the small interface a native twin would implement: ``read``, ``extents``,
``write``, ``zero`` and ``flush``. Nothing in either waits for a turn, takes locks or marks
intents: ``volume`` does.
"""

from collections.abc import Callable, Sequence

import nbd

from appliance.domain import layout, model
from nbd_plugin import commands, connections, failures
from nbd_plugin.epoch import Epoch

#: Longest stretch one block status question covers.
_EXTENTS_STEP = 1 << 30


def read(epoch: Epoch, view: memoryview, offset: int, now: Callable[[], float]) -> None:
    """Fill ``view`` from ``offset``. Raises failures.NoReader if no replica may be read (R6)."""
    segments = layout.split(offset, len(view), epoch.ncols)
    refused: set[str] = set()
    while True:
        at = now()
        chosen = [_reader(epoch, column, at, refused) for column, _, _ in segments]
        try:
            if len(segments) == 1:
                _read_one(epoch, chosen[0], view, offset)
            else:
                issued = [
                    (pool, _issue_read(view[start - offset : start - offset + length], start))
                    for pool, (_, start, length) in zip(chosen, segments, strict=True)
                ]
                commands.run(epoch, issued, "read", len(view))
            return
        except (failures.LegDied, failures.LegRefused) as exc:
            _try_another(epoch, exc, refused)


def extents(
    epoch: Epoch, offset: int, length: int, now: Callable[[], float]
) -> list[tuple[int, int, int]]:
    """(offset, length, NBD base:allocation flags) from ``offset`` on, possibly not to the end."""
    length = min(length, _EXTENTS_STEP)
    refused: set[str] = set()
    while True:
        at = now()
        readers = [_reader(epoch, column, at, refused) for column in range(epoch.ncols)]
        try:
            runs = {
                pool: _block_status(epoch, pool, offset, length) for pool in dict.fromkeys(readers)
            }
        except (failures.LegDied, failures.LegRefused) as exc:
            _try_another(epoch, exc, refused)
        else:
            return _merged(epoch, readers, runs, offset, length)


def _merged(
    epoch: Epoch,
    readers: list[connections.LegPool],
    runs: dict[connections.LegPool, list[tuple[int, int]]],
    offset: int,
    length: int,
) -> list[tuple[int, int, int]]:
    """What each column's reader told of its own units, joined where it goes on alike."""
    found: list[tuple[int, int, int]] = []
    for column, start, size in layout.split(offset, length, epoch.ncols):
        for piece_start, piece_end, flags in _cut(runs[readers[column]], start, start + size):
            if found and found[-1][2] == flags and found[-1][0] + found[-1][1] == piece_start:
                found[-1] = (found[-1][0], found[-1][1] + piece_end - piece_start, flags)
            else:
                found.append((piece_start, piece_end - piece_start, flags))
        if not found or found[-1][0] + found[-1][1] != start + size:
            break  # that server told no more; the caller asks again from here
    return found


# --- readers ------------------------------------------------------------------------------


def _reader(epoch: Epoch, column: int, now: float, refused: set[str]) -> connections.LegPool:
    """The least busy replica of ``column`` that R6 allows to read.

    One that ``refused`` is taken only if each one did; its error is the application's then.
    """
    route = epoch.routes[column]
    best = None
    another = any(pool.device_id not in refused for pool in route.readers)
    for pool in route.readers:
        if another and pool.device_id in refused:
            continue
        if pool.dead or not _pulse_of_others(route.written, pool, now):
            continue
        if (
            best is None
            or pool.busy < best.busy
            or (pool.busy == best.busy and pool.turn < best.turn)
        ):
            best = pool
    if best is None:
        raise failures.NoReader(
            column=column, devices=", ".join(p.leg.sds_name for p in route.readers)
        )
    best.turn += 1
    return best


def _pulse_of_others(
    written: Sequence[connections.LegPool], pool: connections.LegPool, now: float
) -> bool:
    for other in written:
        if other is not pool and now - other.pulse_s >= model.PULSE_S:
            return False
    return True


def _try_another(epoch: Epoch, failure: Exception, refused: set[str]) -> None:
    """A replica failed to read, and is blamed: another may do, without a turn (R6).

    Raises failures.LegRefused again if no other replica of the column is left to ask.
    """
    if isinstance(failure, failures.LegRefused):
        if failure.device in refused:
            raise failure
        epoch.blame(failure.device, "failed")
        refused.add(failure.device)
    epoch.check()


def _read_one(epoch: Epoch, pool: connections.LegPool, view: memoryview, offset: int) -> None:
    """The common case: one segment, from one replica, by the shortest way."""
    lane = commands.take_lane(epoch, pool)
    pool.busy += 1
    try:
        lane.read(view, offset)
    except (failures.LegDied, failures.LegRefused) as exc:
        raise commands.lane_failed(epoch, pool, lane, exc) from exc
    finally:
        pool.busy -= 1
    pool.put_lane(lane)


def _issue_read(piece: memoryview, start: int) -> Callable[[nbd.NBD], int]:
    return lambda handle: handle.aio_pread(piece, start)


def _block_status(
    epoch: Epoch, pool: connections.LegPool, offset: int, length: int
) -> list[tuple[int, int]]:
    """[(end offset, flags)] in order, from ``offset`` on."""
    runs: list[tuple[int, int]] = []

    def told(_context: str, start: int, entries: list[int], _error: object) -> int:
        for size, flags in zip(entries[::2], entries[1::2], strict=True):
            start += size
            runs.append((start, flags))
        return 0

    connection = commands.take(epoch, pool)
    try:
        connection.nbd.block_status(length, offset, told)
    except nbd.Error as exc:
        raise commands.failed(epoch, pool, connection, "block status", exc) from exc
    pool.put(connection)
    return runs


def _cut(runs: list[tuple[int, int]], start: int, end: int) -> list[tuple[int, int, int]]:
    """The part of ``runs`` in [start, end), as (start, end, flags); what is before is dropped."""
    pieces = []
    while runs and start < end:
        run_end, flags = runs[0]
        if run_end <= start:
            runs.pop(0)
            continue
        stop = min(run_end, end)
        pieces.append((start, stop, flags))
        start = stop
    return pieces

"""One attempt at one request under one epoch: segments in, acknowledgements of replicas out.

This is the small interface a native twin would implement: ``read``, ``write``, ``zero``,
``flush`` and ``extents``. Each returns when every replica concerned answered; otherwise it blames
the device and raises failures.EpochOver (try again under the next generation) or
failures.LegRefused (the only replica left refused: the error is the application's).
Nothing here waits for a turn, takes locks or marks intents: ``volume`` does.
"""

import contextlib
import select
from collections.abc import Callable, Sequence

import nbd

from appliance.domain import layout, model
from nbd_plugin import connections, failures
from nbd_plugin.epoch import Epoch

#: Up to here a read is one blocking call that returns a buffer; above, a copy costs more.
_SMALL_READ = 64 * 1024

#: Above this, several connections are driven together so that their transfers overlap.
_LARGE = 256 * 1024

#: Longest stretch one block status question covers.
_EXTENTS_STEP = 1 << 30

#: (pool, issue): ``issue(handle)`` starts one command and returns its cookie.
Command = tuple[connections.LegPool, Callable[[nbd.NBD], int]]


def read(epoch: Epoch, view: memoryview, offset: int, now: Callable[[], float]) -> None:
    """Fill ``view`` from ``offset``. Raises failures.NoReader if no replica may be read (R6)."""
    segments = layout.split(offset, len(view), epoch.ncols)
    refused: set[str] = set()
    while True:
        at = now()
        chosen = [_reader(epoch, column, at, refused) for column, _, _ in segments]
        try:
            if len(segments) == 1 and len(view) <= _SMALL_READ:
                _small_read(epoch, chosen[0], view, offset)
            else:
                commands = [
                    (pool, _issue_read(view[start - offset : start - offset + length], start))
                    for pool, (_, start, length) in zip(chosen, segments, strict=True)
                ]
                _run(epoch, commands, "read", len(view))
            return
        except (failures.LegDied, failures.LegRefused) as exc:
            _try_another(epoch, exc, refused)


def write(epoch: Epoch, view: memoryview, offset: int, fua: bool) -> None:
    flags = nbd.CMD_FLAG_FUA if fua else 0
    segments = layout.split(offset, len(view), epoch.ncols)
    if len(segments) == 1 and len(view) <= _LARGE:
        written = epoch.routes[segments[0][0]].written
        if len(written) == 2:
            _mirror_write(epoch, written, view, offset, flags)
            return
    commands = []
    for column, start, length in segments:
        piece = view[start - offset : start - offset + length]
        for pool in epoch.routes[column].written:
            commands.append((pool, _issue_write(piece, start, flags)))
    _acknowledged(epoch, commands, "write", len(view))


def zero(epoch: Epoch, offset: int, length: int, fua: bool, may_trim: bool) -> None:
    """Zeroes, as holes where ``may_trim``. Trim is this too: both copies then read the same."""
    flags = (nbd.CMD_FLAG_FUA if fua else 0) | (0 if may_trim else nbd.CMD_FLAG_NO_HOLE)
    commands = []
    for column, start, size in layout.split(offset, length, epoch.ncols):
        for pool in epoch.routes[column].written:
            commands.append((pool, _issue_zero(start, size, flags)))
    _acknowledged(epoch, commands, "zero", 0)


def flush(epoch: Epoch) -> None:
    """Every device of the volume has on stable storage what was acknowledged before this."""
    commands: list[Command] = [
        (pool, lambda handle: handle.aio_flush()) for pool in epoch.pools.values()
    ]
    _acknowledged(epoch, commands, "flush", 0)


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


def _small_read(epoch: Epoch, pool: connections.LegPool, view: memoryview, offset: int) -> None:
    connection = _take(epoch, pool)
    pool.busy += 1
    try:
        view[:] = connection.nbd.pread(len(view), offset)
    except nbd.Error as exc:
        raise _failed(epoch, pool, connection, "read", exc) from exc
    finally:
        pool.busy -= 1
    pool.put(connection)


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

    connection = _take(epoch, pool)
    try:
        connection.nbd.block_status(length, offset, told)
    except nbd.Error as exc:
        raise _failed(epoch, pool, connection, "block status", exc) from exc
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


# --- commands -----------------------------------------------------------------------------


def _issue_read(piece: memoryview, start: int) -> Callable[[nbd.NBD], int]:
    return lambda handle: handle.aio_pread(piece, start)


def _issue_write(piece: memoryview, start: int, flags: int) -> Callable[[nbd.NBD], int]:
    return lambda handle: handle.aio_pwrite(piece, start, flags=flags)


def _issue_zero(start: int, size: int, flags: int) -> Callable[[nbd.NBD], int]:
    return lambda handle: handle.aio_zero(size, start, flags=flags)


def _mirror_write(
    epoch: Epoch,
    written: tuple[connections.LegPool, ...],
    view: memoryview,
    offset: int,
    flags: int,
) -> None:
    """The common case, in as few calls into libnbd as can be: each hands over the GIL."""
    one, two = written
    first = None
    try:
        first = _take(epoch, one)
        second = _take(epoch, two)
    except failures.LegDied as exc:
        if first is not None:
            one.put(first)
        raise failures.EpochOver(generation=epoch.generation, why=str(exc)) from exc
    error: Exception | None = None
    one.busy += 1
    two.busy += 1
    try:
        cookie = first.nbd.aio_pwrite(view, offset, flags=flags)
    except nbd.Error as exc:
        error = _failed(epoch, one, first, "write", exc)
    try:
        second.nbd.pwrite(view, offset, flags=flags)
        two.put(second)
    except nbd.Error as exc:
        error = _worse(epoch, error, _failed(epoch, two, second, "write", exc))
    if not isinstance(error, failures.LegDied) or error.facts["device"] != one.device_id:
        try:
            first.nbd.poll(-1)
            while not first.nbd.aio_command_completed(cookie):
                first.nbd.poll(-1)
            one.put(first)
        except nbd.Error as exc:
            error = _worse(epoch, error, _failed(epoch, one, first, "write", exc))
    one.busy -= 1
    two.busy -= 1
    if error is not None:
        _raise_unacknowledged(epoch, error)


def _acknowledged(epoch: Epoch, commands: list[Command], name: str, payload: int) -> None:
    """Run commands that every replica must acknowledge under this one generation (R2)."""
    try:
        _run(epoch, commands, name, payload)
    except (failures.LegDied, failures.LegRefused) as exc:
        _raise_unacknowledged(epoch, exc)


def _raise_unacknowledged(epoch: Epoch, error: Exception) -> None:
    if isinstance(error, failures.LegRefused):
        if _is_final(epoch, error):
            raise error
        if _is_full_everywhere(epoch, error):
            facts = error.facts
            raise failures.FullEverywhere(
                error.device, str(facts["command"]), error.errno, str(facts["why"])
            ) from error
        epoch.blame(error.device, "full" if error.full else "failed")
    raise failures.EpochOver(generation=epoch.generation, why=str(error)) from error


def _is_final(epoch: Epoch, error: failures.LegRefused) -> bool:
    """Whether a refusal is the application's: there is no other replica to be equal to (R5)."""
    return error.full and all(
        len(route.written) == 1
        for route in epoch.routes
        if any(pool.device_id == error.device for pool in route.written)
    )


def _is_full_everywhere(epoch: Epoch, error: failures.LegRefused) -> bool:
    """Whether a column has no copy left that could take the write: a turn would be for nothing."""
    return error.full and any(
        route.written and all(pool.device_id in error.devices for pool in route.written)
        for route in epoch.routes
    )


def _run(epoch: Epoch, commands: list[Command], name: str, payload: int) -> None:
    """Issue all, wait for all; raises the worst failure once nothing is in flight any more."""
    taken: dict[connections.LegPool, tuple[connections.Connection, list[int]]] = {}
    not_issued: dict[connections.LegPool, nbd.Error] = {}
    error: Exception | None = None
    for pool, issue in commands:
        try:
            if pool not in taken:
                taken[pool] = (_take(epoch, pool), [])
                pool.busy += 1
            connection, cookies = taken[pool]
            cookies.append(issue(connection.nbd))
        except failures.LegDied as exc:
            error = _worse(epoch, error, exc)
        except nbd.Error as exc:
            not_issued[pool] = exc
    if payload > _LARGE and len(taken) > 1:
        _drive([connection for connection, _ in taken.values()])
    for pool, (connection, cookies) in taken.items():
        pool.busy -= 1
        failed = not_issued.get(pool)
        for cookie in cookies:
            try:
                while not connection.nbd.aio_command_completed(cookie):
                    connection.nbd.poll(-1)
            except nbd.Error as exc:
                failed = exc
                # Refused: what else is in flight here must still be answered before the range
                # is given to the next write.
                if not connection.alive():
                    break
        if failed is not None:
            error = _worse(epoch, error, _failed(epoch, pool, connection, name, failed))
        elif connection.usable():
            pool.put(connection)
        else:
            pool.discard(connection)
    if error is not None:
        raise error


def _drive(conns: list[connections.Connection]) -> None:
    """Move bytes on all of ``conns`` at once until each has everything answered or failed."""
    poller = select.poll()
    pending = {conn.nbd.aio_get_fd(): conn.nbd for conn in conns if conn.nbd.aio_in_flight()}
    for fd in pending:
        poller.register(fd, 0)
    while pending:
        for fd, handle in pending.items():
            direction = handle.aio_get_direction()
            events = select.POLLIN if direction & nbd.AIO_DIRECTION_READ else 0
            if direction & nbd.AIO_DIRECTION_WRITE:
                events |= select.POLLOUT
            poller.modify(fd, events)
        for fd, events in poller.poll():
            handle = pending[fd]
            # An error shows again, with its words, when the commands are asked for.
            with contextlib.suppress(nbd.Error):
                direction = handle.aio_get_direction()
                if direction & nbd.AIO_DIRECTION_READ and events & ~select.POLLOUT:
                    handle.aio_notify_read()
                elif direction & nbd.AIO_DIRECTION_WRITE and events & select.POLLOUT:
                    handle.aio_notify_write()
            if (
                not handle.aio_is_ready() and not handle.aio_is_processing()
            ) or handle.aio_in_flight() == 0:
                poller.unregister(fd)
                del pending[fd]


def _take(epoch: Epoch, pool: connections.LegPool) -> connections.Connection:
    try:
        return pool.take()
    except failures.LegDied:
        pool.dead = True
        epoch.blame(pool.device_id, "suspects")
        raise


def _failed(
    epoch: Epoch,
    pool: connections.LegPool,
    connection: connections.Connection,
    name: str,
    exc: nbd.Error,
) -> Exception:
    """Throw the connection away unless the server merely refused; blame a leg that died."""
    failure = pool.failure(connection, name, exc)
    if isinstance(failure, failures.LegRefused) and connection.usable():
        pool.put(connection)
    else:
        pool.discard(connection)
    if isinstance(failure, failures.LegDied):
        pool.dead = True
        epoch.blame(pool.device_id, "suspects")
    return failure


def _worse(epoch: Epoch, one: Exception | None, two: Exception) -> Exception:
    """Of two failures the one that matters: an unknown outcome outweighs a refusal, and a refusal
    that needs a turn outweighs one that may go up to the application (R5)."""
    if one is None or not isinstance(one, failures.LegRefused):
        return one or two
    if not isinstance(two, failures.LegRefused) or (one.full and not two.full):
        return two
    if one.full:
        one.devices = two.devices = one.devices | two.devices
    return two if _is_final(epoch, one) else one

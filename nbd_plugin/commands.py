"""What one attempt at a request does with its legs: takes connections, issues commands, waits.

Called by ``reading`` and ``changing``. A leg that dies is blamed and its connection thrown away;
what a failure means for the request is the caller's.
"""

import contextlib
import select
from collections.abc import Callable

import nbd

from nbd_plugin import connections, failures, lanes
from nbd_plugin.epoch import Epoch

#: Above this, several connections are driven together so that their transfers overlap.
LARGE = 256 * 1024

#: (pool, issue): ``issue(handle)`` starts one command and returns its cookie.
Command = tuple[connections.LegPool, Callable[[nbd.NBD], int]]


def run(epoch: Epoch, commands: list[Command], name: str, payload: int) -> None:
    """Issue all, wait for all; raises the worst failure once nothing is in flight any more."""
    taken: dict[connections.LegPool, tuple[connections.Connection, list[int]]] = {}
    not_issued: dict[connections.LegPool, nbd.Error] = {}
    error: Exception | None = None
    for pool, issue in commands:
        try:
            if pool not in taken:
                taken[pool] = (take(epoch, pool), [])
                pool.busy += 1
            connection, cookies = taken[pool]
            cookies.append(issue(connection.nbd))
        except failures.LegDied as exc:
            error = worse(epoch, error, exc)
        except nbd.Error as exc:
            not_issued[pool] = exc
    if payload > LARGE and len(taken) > 1:
        _drive([connection for connection, _ in taken.values()])
    for pool, (connection, cookies) in taken.items():
        pool.busy -= 1
        refused = not_issued.get(pool)
        for cookie in cookies:
            try:
                while not connection.nbd.aio_command_completed(cookie):
                    connection.nbd.poll(-1)
            except nbd.Error as exc:
                refused = exc
                # Refused: what else is in flight here must still be answered before the range
                # is given to the next write.
                if not connection.alive():
                    break
        if refused is not None:
            error = worse(epoch, error, failed(epoch, pool, connection, name, refused))
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


def take_lane(epoch: Epoch, pool: connections.LegPool) -> lanes.Lane:
    """A lane to the leg. Raises failures.LegDied, and blames the leg."""
    try:
        return pool.take_lane()
    except failures.LegDied as exc:
        _blame_dead(epoch, pool, exc)
        raise


def take(epoch: Epoch, pool: connections.LegPool) -> connections.Connection:
    """A connection to the leg. Raises failures.LegDied, and blames the leg."""
    try:
        return pool.take()
    except failures.LegDied as exc:
        _blame_dead(epoch, pool, exc)
        raise


def lane_failed(
    epoch: Epoch, pool: connections.LegPool, lane: lanes.Lane, failure: Exception
) -> Exception:
    """Throw the lane away unless the server merely refused; blame a leg that died."""
    if isinstance(failure, failures.LegRefused):
        pool.put_lane(lane)
    else:
        pool.discard(lane)
        _blame_dead(epoch, pool, failure)
    return failure


def failed(
    epoch: Epoch,
    pool: connections.LegPool,
    connection: connections.Connection,
    name: str,
    exc: nbd.Error,
) -> Exception:
    """The same for a connection; what ``exc`` means."""
    failure = pool.failure(connection, name, exc)
    if isinstance(failure, failures.LegRefused) and connection.usable():
        pool.put(connection)
    else:
        pool.discard(connection)
    if isinstance(failure, failures.LegDied):
        _blame_dead(epoch, pool, failure)
    return failure


def _blame_dead(epoch: Epoch, pool: connections.LegPool, failure: Exception) -> None:
    pool.dead = True
    epoch.blame(pool.device_id, failures.blamed_for(failure))


def worse(epoch: Epoch, one: Exception | None, two: Exception) -> Exception:
    """Of two failures the one that matters: an unknown outcome outweighs a refusal, and a refusal
    that needs a turn outweighs one that may go up to the application (R5)."""
    if one is None or not isinstance(one, failures.LegRefused):
        return one or two
    if not isinstance(two, failures.LegRefused) or (one.full and not two.full):
        return two
    if one.full:
        one.devices = two.devices = one.devices | two.devices
    return two if is_final(epoch, one) else one


def is_final(epoch: Epoch, error: failures.LegRefused) -> bool:
    """Whether a refusal is the application's: there is no other replica to be equal to (R5)."""
    return error.full and all(
        len(route.written) == 1
        for route in epoch.routes
        if any(pool.device_id == error.device for pool in route.written)
    )

"""One attempt at a write, zero or flush under one epoch: every replica acknowledges, or it failed.

Each returns when every replica concerned answered; otherwise it blames the device and raises
failures.EpochOver (try again under the next generation) or failures.LegRefused (the only replica
left refused: the error is the application's). See also ``reading``.
"""

from collections.abc import Callable

import nbd

from appliance.domain import layout
from nbd_plugin import commands, connections, failures, lanes
from nbd_plugin.epoch import Epoch


def write(epoch: Epoch, view: memoryview, offset: int, fua: bool) -> None:
    flags = nbd.CMD_FLAG_FUA if fua else 0
    segments = layout.split(offset, len(view), epoch.ncols)
    if len(segments) == 1 and len(view) <= commands.LARGE:
        _write_small(epoch, epoch.routes[segments[0][0]].written, view, offset, flags)
        return
    issued = []
    for column, start, length in segments:
        piece = view[start - offset : start - offset + length]
        for pool in epoch.routes[column].written:
            issued.append((pool, _issue_write(piece, start, flags)))
    _acknowledged(epoch, issued, "write", len(view))


def zero(epoch: Epoch, offset: int, length: int, fua: bool, may_trim: bool) -> None:
    """Zeroes, as holes where ``may_trim``. Trim is this too: both copies then read the same."""
    flags = (nbd.CMD_FLAG_FUA if fua else 0) | (0 if may_trim else nbd.CMD_FLAG_NO_HOLE)
    issued = []
    for column, start, size in layout.split(offset, length, epoch.ncols):
        for pool in epoch.routes[column].written:
            issued.append((pool, _issue_zero(start, size, flags)))
    _acknowledged(epoch, issued, "zero", 0)


def flush(epoch: Epoch) -> None:
    """Every device of the volume has on stable storage what was acknowledged before this."""
    issued: list[commands.Command] = [
        (pool, lambda handle: handle.aio_flush()) for pool in epoch.pools.values()
    ]
    _acknowledged(epoch, issued, "flush", 0)


def _write_small(
    epoch: Epoch,
    written: tuple[connections.LegPool, ...],
    view: memoryview,
    offset: int,
    flags: int,
) -> None:
    """The common case: one segment, sent to every replica before any is waited for."""
    taken: list[tuple[connections.LegPool, lanes.Lane]] = []
    try:
        for pool in written:
            taken.append((pool, commands.take_lane(epoch, pool)))
    except failures.LegDied as exc:
        for pool, lane in taken:
            pool.put_lane(lane)
        raise failures.EpochOver(generation=epoch.generation, why=str(exc)) from exc
    error: Exception | None = None
    sent = []
    for pool, lane in taken:
        pool.busy += 1
        try:
            lane.begin_write(view, offset, flags)
            sent.append((pool, lane))
        except failures.LegDied as exc:
            error = commands.worse(epoch, error, commands.lane_failed(epoch, pool, lane, exc))
    # All are waited for even if one failed: the range is given to the next write after this.
    for pool, lane in sent:
        try:
            lane.acknowledged()
            pool.put_lane(lane)
        except (failures.LegDied, failures.LegRefused) as exc:
            error = commands.worse(epoch, error, commands.lane_failed(epoch, pool, lane, exc))
    for pool in written:
        pool.busy -= 1
    if error is not None:
        _raise_unacknowledged(epoch, error)


def _acknowledged(epoch: Epoch, issued: list[commands.Command], name: str, payload: int) -> None:
    """Run commands that every replica must acknowledge under this one generation (R2)."""
    try:
        commands.run(epoch, issued, name, payload)
    except (failures.LegDied, failures.LegRefused) as exc:
        _raise_unacknowledged(epoch, exc)


def _raise_unacknowledged(epoch: Epoch, error: Exception) -> None:
    if isinstance(error, failures.LegRefused):
        if commands.is_final(epoch, error):
            raise error
        if _is_full_everywhere(epoch, error):
            facts = error.facts
            raise failures.FullEverywhere(
                error.device, str(facts["command"]), error.errno, str(facts["why"])
            ) from error
        epoch.blame(error.device, "full" if error.full else "failed")
    raise failures.EpochOver(generation=epoch.generation, why=str(error)) from error


def _is_full_everywhere(epoch: Epoch, error: failures.LegRefused) -> bool:
    """Whether a column has no copy left that could take the write: a turn would be for nothing."""
    return error.full and any(
        route.written and all(pool.device_id in error.devices for pool in route.written)
        for route in epoch.routes
    )


def _issue_write(piece: memoryview, start: int, flags: int) -> Callable[[nbd.NBD], int]:
    return lambda handle: handle.aio_pwrite(piece, start, flags=flags)


def _issue_zero(start: int, size: int, flags: int) -> Callable[[nbd.NBD], int]:
    return lambda handle: handle.aio_zero(size, start, flags=flags)

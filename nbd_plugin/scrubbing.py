"""What a scrubber may ask of this client: to watch a region, to take its touched mark away when
it was scrubbed, and to write a unit again whose one copy rotted.

The mark is taken away here and nowhere else, because only the client knows what it thinks to be
marked (``marks``): behind its back, the next write would not set the mark again, and a sum of old
bytes would be taken for true.
"""

import nbd

from appliance.domain import layout
from nbd_plugin import changing, failures
from nbd_plugin.epoch import Epoch
from nbd_plugin.volume import Volume

WATCH = "watch"
SCRUBBED = "scrubbed"
REWRITE = "rewrite"


def scrub(
    volume: Volume, step: str, generation: int, offset: int, length: int, device_id: str
) -> None:
    """Do one ``step`` (see messages.ScrubRequest). Raises failures.EpochOver if another
    generation is in use, else a failure with the reason it was not done."""
    if step == REWRITE:
        _rewrite(volume, generation, offset, length, device_id)
        return
    epoch, marks = volume.in_use(generation)
    regions = layout.regions(offset, length)
    if step == WATCH:
        marks.watch(regions)
    elif step == SCRUBBED:
        try:
            marks.scrubbed(epoch, regions)
        except failures.EpochOver:
            volume.leave_over(epoch)
            raise
    else:
        raise failures.NotDone(what=f"scrub step {step!r}", why="it is not known here")


def _rewrite(volume: Volume, generation: int, offset: int, length: int, device_id: str) -> None:
    """Write what ``device_id`` has of the range to every replica, as a write of this client.

    Its bytes are read once, while the range is this request's own: once a write of them went out,
    it is sent again like any other until it is acknowledged (R5).
    """
    data: list[memoryview] = []

    def attempt(epoch: Epoch) -> None:
        if not data:
            if epoch.generation != generation:
                raise failures.NotDone(what="a repair", why="a turn began")
            data.append(memoryview(_read(epoch, device_id, offset, length)))
        changing.write(epoch, data[0], offset, True)

    volume.change(offset, length, attempt)
    volume.flush()  # or its region would stay dirty until the application's next flush


def _read(epoch: Epoch, device_id: str, offset: int, length: int) -> bytearray:
    pool = epoch.pools.get(device_id)
    if pool is None:
        raise failures.NotDone(what="a repair", why=f"device {device_id} is not in the map")
    try:
        connection = pool.connect(pool.leg.data_export)
    except failures.LegDied as exc:
        raise failures.NotDone(what="a repair", why=str(exc)) from exc
    try:
        return bytearray(connection.nbd.pread(length, offset))
    except nbd.Error as exc:
        raise failures.NotDone(what="a repair", why=exc.string) from exc
    finally:
        pool.discard(connection)

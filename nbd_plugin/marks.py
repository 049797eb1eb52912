"""Intents (R3): where the replicas may differ, known durably on each of them before they do.

Each region of the volume has a dirty bit in this incarnation's intent file on every leg. The
first write into a clean region waits for the bit; the bit is cleared lazily once the region is
quiet, flushed everywhere, and every replica is in sync. One write of a block is in flight at a
time, so setting and clearing bits of a block are serialised; waiters of a block share a write.
"""

import threading
from collections.abc import Iterable

import nbd

from appliance.domain import intents
from nbd_plugin import connections, failures
from nbd_plugin.epoch import Epoch


class Marks:
    """Thread-safe. One for the life of an incarnation; epochs come and go."""

    def __init__(self, size: int) -> None:
        self._changed = threading.Condition()
        self._image = bytearray(intents.file_length(size))
        self._busy_blocks: set[int] = set()
        #: regions known to be durable on a device of the present epoch (R3)
        self._durable: dict[str, set[int]] = {}
        #: writes in flight by region
        self._in_flight: dict[int, int] = {}
        #: regions written since the last flush began
        self._unflushed: set[int] = set()
        #: what each flush in flight covers: not flushed before it succeeded
        self._flushing: list[set[int]] = []
        #: regions a scrubber looks at, and that were not written since it began
        self._watched: set[int] = set()
        #: regions found quiet by the last round of clearing; cleared by the next
        self._quiet: set[int] = set()
        self._channels: dict[tuple[connections.LegPool, int], connections.Connection] = {}
        self._epoch: Epoch | None = None

    def enter(self, epoch: Epoch) -> None:
        """Before ``epoch`` serves: what is already marked on all of its legs counts as marked.

        Nothing is known of a device that was away or is copied to: its file may be a new one.
        """
        syncing = {
            replica.device_id
            for column in epoch.map.columns
            for replica in column
            if replica.written and not replica.readable
        }
        with self._changed:
            length = intents.file_length(epoch.map.size)
            self._image.extend(bytes(length - len(self._image)))
            known, self._durable = self._durable, {}
            for device in epoch.pools:
                durable = set() if device in syncing else known.get(device, set())
                self._durable[device] = durable
            if self._durable:
                epoch.marked = set.intersection(*self._durable.values())
            self._channels = {}
            self._epoch = epoch

    # --- around a write ---------------------------------------------------------------

    def begin(self, regions: range) -> None:
        """A write into ``regions`` is about to be in flight; until ``end`` no bit is cleared."""
        with self._changed:
            for region in regions:
                self._in_flight[region] = self._in_flight.get(region, 0) + 1
                self._unflushed.add(region)
                self._watched.discard(region)

    def end(self, regions: range) -> None:
        with self._changed:
            for region in regions:
                count = self._in_flight[region] - 1
                if count:
                    self._in_flight[region] = count
                else:
                    del self._in_flight[region]
                # Again: a flush that began while the write was in flight does not cover it.
                self._unflushed.add(region)

    def ensure(self, epoch: Epoch, regions: range) -> None:
        """Return once every one of ``regions`` is durably dirty on every leg of ``epoch``.

        Raises failures.EpochOver. Call between ``begin`` and ``end``.
        """
        for region in regions:
            if region not in epoch.marked:
                self._mark(epoch, regions)
                return

    def _mark(self, epoch: Epoch, regions: range) -> None:
        with self._changed:
            for region in regions:
                if region not in epoch.marked:
                    intents.set_dirty(self._image, region)
        for block in sorted({intents.block_of(region) for region in regions}):
            while not self._claim(epoch, block, regions):
                pass

    def _claim(self, epoch: Epoch, block: int, regions: range) -> bool:
        """Write ``block`` if nobody does, else wait for who does. True when nothing is left."""
        with self._changed:
            epoch.check()
            mine = [r for r in regions if intents.block_of(r) == block]
            if all(region in epoch.marked for region in mine):
                return True
            if block in self._busy_blocks:
                self._changed.wait(1.0)
                return False
            self._busy_blocks.add(block)
        self._write_claimed(epoch, block)
        return False

    # --- flush and clearing -------------------------------------------------------------

    def flush_begins(self) -> set[int]:
        """Regions that a flush beginning now covers, if it succeeds."""
        with self._changed:
            covered = self._unflushed - self._in_flight.keys()
            self._unflushed = set(self._in_flight)
            self._flushing.append(covered)
            return covered

    def flush_ended(self, covered: set[int], succeeded: bool) -> None:
        with self._changed:
            self._flushing = [other for other in self._flushing if other is not covered]
            if not succeeded:
                self._unflushed |= covered

    @property
    def unflushed(self) -> bool:
        """Whether a write may be lost that no flush succeeded after."""
        with self._changed:
            return bool(self._unflushed) or any(self._flushing)

    def clear_quiet(self, epoch: Epoch) -> None:
        """Clear the bits of regions that were quiet at two calls running.

        Quiet: no write in flight and none since a successful flush began. Raises
        failures.EpochOver. Does nothing unless every replica is in sync.
        """
        if not epoch.map.all_in_sync:
            return
        with self._changed:
            quiet = set(intents.dirty_regions(self._image)) - self._in_use()
            chosen, self._quiet = quiet & self._quiet, quiet
        for block in sorted({intents.block_of(region) for region in chosen}):
            self._clear(epoch, block, (r for r in chosen if intents.block_of(r) == block))

    def _clear(self, epoch: Epoch, block: int, regions: Iterable[int]) -> None:
        with self._changed:
            # The map is looked at again under the lock: a replica that left since keeps its marks.
            if epoch.over or block in self._busy_blocks or not epoch.map.all_in_sync:
                return
            in_use = self._in_use()
            for region in regions:
                if region in in_use:
                    continue
                epoch.marked.discard(region)
                for durable in self._durable.values():
                    durable.discard(region)
                intents.clear_dirty(self._image, region)
            self._busy_blocks.add(block)
        self._write_claimed(epoch, block)

    # --- scrub ------------------------------------------------------------------------------

    def watch(self, regions: range) -> None:
        """Notice writes into ``regions`` from now on, for ``scrubbed``."""
        with self._changed:
            self._watched.update(regions)

    def scrubbed(self, epoch: Epoch, regions: range) -> None:
        """Their copies were compared, and their sums are durable: take the touched mark away,
        unless something was written since ``watch``. Waits for other writes of the block.

        Raises failures.EpochOver.
        """
        for block in sorted({intents.block_of(region) for region in regions}):
            mine = [r for r in regions if intents.block_of(r) == block]
            while not self._untouch(epoch, block, mine):
                pass

    def _untouch(self, epoch: Epoch, block: int, regions: list[int]) -> bool:
        """False if somebody else writes the block: to be asked again."""
        with self._changed:
            epoch.check()
            if block in self._busy_blocks:
                self._changed.wait(1.0)
                return False
            watched = self._watched.intersection(regions) - self._in_use()
            self._watched.difference_update(regions)
            # A region that is dirty may be thought marked, and its mark must stay true.
            chosen = [r for r in watched if not intents.is_dirty(self._image, r)]
            if not chosen or not epoch.map.all_in_sync:
                return True
            for region in chosen:
                intents.clear_touched(self._image, region)
            self._busy_blocks.add(block)
        self._write_claimed(epoch, block)
        return True

    def _in_use(self) -> set[int]:
        """Regions that are not quiet: the copies may still come to differ there."""
        return self._unflushed.union(self._in_flight, *self._flushing)

    # --- one block ------------------------------------------------------------------------

    def _write_claimed(self, epoch: Epoch, block: int) -> None:
        """Write ``block`` with FUA to every leg; the caller has put it in ``_busy_blocks``."""
        start = block * intents.BLOCK_BYTES
        data = bytes(self._image[start : start + intents.BLOCK_BYTES])
        try:
            self._write_block(epoch, start, data)
        finally:
            with self._changed:
                self._busy_blocks.discard(block)
                self._changed.notify_all()

    def _write_block(self, epoch: Epoch, start: int, data: bytes) -> None:
        first = start // intents.BLOCK_BYTES * intents.BLOCK_REGIONS
        written = {first + region for region in intents.dirty_regions(data)}
        begun: list[tuple[connections.LegPool, connections.Connection, int]] = []
        died = ""
        for pool in epoch.pools.values():
            try:
                channel = self._channel(pool, start)
                cookie = channel.nbd.aio_pwrite(bytearray(data), start, flags=nbd.CMD_FLAG_FUA)
                begun.append((pool, channel, cookie))
            except (failures.LegDied, nbd.Error) as exc:
                epoch.blame(pool.device_id, failures.blamed_for(exc))
                died = str(exc)
        for pool, channel, cookie in begun:
            try:
                while not channel.nbd.aio_command_completed(cookie):
                    channel.nbd.poll(-1)
            except nbd.Error as exc:
                # A refused intent write takes the device out like a failed flush (R5).
                refused = isinstance(
                    pool.failure(channel, "intent write", exc), failures.LegRefused
                )
                epoch.blame(pool.device_id, "failed" if refused else "suspects")
                died = str(exc)
            else:
                with self._changed:
                    if self._epoch is epoch:
                        self._durable[pool.device_id] |= written
        if died:
            raise failures.EpochOver(generation=epoch.generation, why=died)
        with self._changed:
            epoch.marked |= written

    def _channel(self, pool: connections.LegPool, start: int) -> connections.Connection:
        """The leg's connection for the block at ``start``; whoever writes it has it alone."""
        channel = self._channels.get((pool, start))
        if channel is None:
            channel = pool.connect(pool.leg.intent_export)
            self._channels[pool, start] = channel
        return channel

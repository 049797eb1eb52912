"""One generation of the volume as this client sees it: its map, its legs, and whether it is over.

Every acknowledgement a request collects must come from one epoch (R2). A newer map version of the
same generation only changes the routes; a newer generation is a new epoch.
"""

import threading
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass

from appliance.common import clock as clocks
from appliance.common import tls
from appliance.domain import model
from nbd_plugin import connections, failures


@dataclass(frozen=True, slots=True)
class Route:
    """Where one column is read and written: ``readers`` ⊆ ``written``."""

    readers: tuple[connections.LegPool, ...]
    written: tuple[connections.LegPool, ...]


class Epoch:
    """Thread-safe. ``marked`` are the regions whose intent is durable on every leg (R3)."""

    def __init__(
        self,
        volume_map: model.VolumeMap,
        blame: Callable[[str, str], None],
        clock: clocks.Clock | None = None,
        data_tls: tls.DataTls = tls.NONE,
    ) -> None:
        """``blame(device_id, kind)`` is told once of each leg that died, failed or is full.

        ``clock`` is the pulse's.
        """
        self.generation = volume_map.generation
        self.marked: set[int] = set()
        self.over = ""
        self._blame = blame
        self._blamed: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self.pools = {
            leg.device_id: connections.LegPool(leg, clock, data_tls) for leg in volume_map.legs
        }
        self.adopt(volume_map)

    def adopt(self, volume_map: model.VolumeMap) -> None:
        """Take the routes of ``volume_map``, of this same generation."""
        self.map = volume_map
        self.ncols = len(volume_map.columns)
        self.routes = tuple(
            Route(
                tuple(self.pools[r.device_id] for r in column if r.readable),
                tuple(self.pools[r.device_id] for r in column if r.written),
            )
            for column in volume_map.columns
        )

    def open(self) -> None:
        """Connect once to every leg, all at once; those that cannot be reached are blamed.

        Legs known to be dead are left out: the pulse tried them.
        """
        pools = [pool for pool in self.pools.values() if not pool.dead]
        if not pools:
            return

        def first(pool: connections.LegPool) -> None:
            pool.put_lane(pool.take_lane())

        with futures.ThreadPoolExecutor(len(pools), "basalt-open") as executor:
            tried = {executor.submit(first, pool): pool for pool in pools}
            for attempt in futures.as_completed(tried):
                error = attempt.exception()
                if isinstance(error, failures.LegDied):
                    self.blame(tried[attempt].device_id, failures.blamed_for(error))
                elif error is not None:
                    raise error

    def blame(self, device_id: str, kind: str) -> None:
        """Say that a turn is needed because of a device: suspects, unreached, failed or full."""
        with self._lock:
            if self.over or (device_id, kind) in self._blamed:
                return
            self._blamed.add((device_id, kind))
        self._blame(device_id, kind)

    def end(self, why: str) -> None:
        """Nothing is issued under this generation any more; whoever waits for it wakes."""
        with self._lock:
            if self.over:
                return
            self.over = why
        for pool in self.pools.values():
            pool.close()

    def check(self) -> None:
        """Raises failures.EpochOver if it is over."""
        if self.over:
            raise failures.EpochOver(generation=self.generation, why=self.over)

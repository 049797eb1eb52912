"""What is known of one (volume, device), as one value, and the report made of it.

Replaced as a whole by ``leg``, so that no report ever mixes two generations.
"""

from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass

from appliance.common import tls
from appliance.domain import layout
from appliance.protocol import messages
from appliance.sds import (
    adoption,
    copies,
    data_file,
    devices,
    exports,
    processes,
    replica_store,
    scrubs,
)


@dataclass(frozen=True, slots=True)
class Tools:
    """What every leg works with. ``changed``: something is to be reported; never blocks."""

    devices: devices.Devices
    exports: exports.Exports
    starter: processes.Starter
    workers: futures.Executor
    flushers: futures.Executor
    death_limit_s: float
    data_tls: tls.DataTls
    changed: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Site:
    """Where one order is carried out: a device that is well, and the volume's folder on it."""

    device: devices.Device
    label: adoption.Label
    replica: replica_store.Replica
    tools: Tools


@dataclass(frozen=True, slots=True)
class State:
    """``volume`` is what is durable and sealed, None if nothing is there; ``data`` comes with it.

    ``export``, ``copy`` and ``scrub`` are of ``volume.generation``; their processes may have ended.
    ``given_back``: up to where the space of columns that left was freed.
    """

    cache_id: str = ""
    volume: replica_store.VolumeFile | None = None
    data: data_file.DataFile | None = None
    export: exports.Export | None = None
    copy: copies.Copy | None = None
    scrub: scrubs.Scrub | None = None
    intents: tuple[str, ...] = ()
    used_bytes: int = 0
    flushed: bool = False
    synced: frozenset[str] = frozenset()
    deleted: bool = False
    error: str = ""
    given_back: int = 0

    @property
    def generation(self) -> int:
        return self.volume.generation if self.volume is not None else 0

    @property
    def serving(self) -> bool:
        return self.export is not None and self.export.process.alive

    def report(self, volume_id: str, device_id: str) -> messages.LegReport:
        """What the MDM is told. The names of a server that ended are told to nobody."""
        export = self.export if self.serving else None
        names = export.intents if export is not None else {}
        volume = self.volume
        return messages.LegReport(
            volume_id=volume_id,
            device_id=device_id,
            generation=self.generation,
            cache_id=self.cache_id,
            serving=export is not None,
            port=export.port if export is not None else 0,
            socket=export.socket if export is not None else "",
            data_export=export.data_export if export is not None else "",
            sums_export=export.sums_export if export is not None else "",
            intents={incarnation: names.get(incarnation, "") for incarnation in self.intents},
            size=volume.size if volume is not None else 0,
            allocated=volume is not None and not volume.thin and not needs_allocation(volume),
            used_bytes=self.used_bytes,
            flushed=self.flushed,
            synced=tuple(sorted(self.synced)),
            copy=self.copy.report if self.copy is not None else None,
            scrub=self.scrub.report if self.scrub is not None else None,
            deleted=self.deleted,
            error=self.error,
            created=volume.created if volume is not None else 0,
        )


def end_processes(state: State, tools: Tools) -> None:
    """SIGKILL the leg's server, copier and scrubber and wait for them; the proof is the fence's."""
    if state.scrub is not None:
        state.scrub.close(tools.death_limit_s)
    if state.copy is not None:
        state.copy.close(tools.death_limit_s)
    if state.export is not None:
        tools.exports.close(state.export, tools.death_limit_s)


def needs_allocation(volume: replica_store.VolumeFile) -> bool:
    """Whether own units of a thick volume are still to be allocated."""
    if volume.thin or volume.allocated_bytes >= volume.size:
        return False
    return layout.own_bytes(volume.own, volume.ncols, volume.size, volume.unit) > 0

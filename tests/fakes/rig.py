"""One mapped volume: real data servers, the real plugin, and turns made by hand.

The test is the MDM (it makes the maps), the SDS agents (it starts and kills servers) and the
client's agent (it talks to the plugin).
"""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbd

from appliance.common import units
from appliance.domain import model
from tests.fakes import legs

IN_SYNC, SYNCING, STALE = model.ReplicaState

#: Unless told otherwise: four regions.
SIZE = 64 * units.MIB


class Rig:
    """``columns``: the names of each column's devices. Generation 1 is in use from the start."""

    def __init__(
        self,
        folder: Path,
        columns: Iterable[Iterable[str]] = (("x", "y"),),
        size: int = SIZE,
        read_only: bool = False,
        life_s: float = 60.0,
        serve: dict[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        """``serve``: arguments of ``LegServer.serve`` by device name."""
        self.columns = tuple(tuple(column) for column in columns)
        self.size = size
        self.fields = fields
        self.generation = 0
        self.map: model.VolumeMap | None = None
        names = sorted({name for column in self.columns for name in column})
        self.servers = {name: legs.LegServer(folder / name, size) for name in names}
        self.plugin = legs.PluginProcess(folder / "plugin", read_only=read_only, life_s=life_s)
        try:
            self.turn(serve=serve)
        except BaseException:
            self.close()
            raise

    def __getitem__(self, name: str) -> legs.LegServer:
        return self.servers[name]

    def next_map(
        self,
        states: dict[str, model.ReplicaState] | None = None,
        serve: dict[str, Any] | None = None,
        removed: Iterable[str] = (),
        **fields: Any,
    ) -> model.VolumeMap:
        """Seal every server and start those of the next generation."""
        states = states or {}
        self.generation += 1
        for server in self.servers.values():
            server.kill()
        served = [
            server.serve(**(serve or {}).get(name, {}))
            for name, server in self.servers.items()
            if states.get(name) is not STALE and name not in removed
        ]
        columns = tuple(
            tuple(
                model.Replica(name, states.get(name, IN_SYNC))
                for name in column
                if name not in removed
            )
            for column in self.columns
        )
        size = fields.pop("size", self.size)
        thin = fields.pop("thin", self.fields.get("thin", True))
        rest = {**self.fields, **fields}
        rest.pop("thin", None)
        self.map = model.VolumeMap(
            "v", "v", size, thin, self.generation, 1, columns, tuple(served), **rest
        )
        return self.map

    def turn(self, *args: Any, **kwargs: Any) -> None:
        """A whole turn, until the plugin uses the new generation."""
        volume_map = self.next_map(*args, **kwargs)
        self.plugin.send_map(volume_map)
        self.plugin.status(generation=self.generation, waiting="")

    def connect(self) -> nbd.NBD:
        return self.plugin.connect()

    def copies(self) -> list[bytes]:
        return [server.read() for server in self.servers.values()]

    def close(self) -> None:
        for server in self.servers.values():
            server.kill()
        self.plugin.close()


def promoted(volume_map: model.VolumeMap) -> model.VolumeMap:
    """The next version of the map, in which every replica is in sync."""
    columns = tuple(
        tuple(model.Replica(replica.device_id, IN_SYNC) for replica in column)
        for column in volume_map.columns
    )
    return dataclasses.replace(volume_map, version=volume_map.version + 1, columns=columns)


class Rigs:
    """Makes rigs, and ends them with the test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: list[Rig] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Rig:
        rig = Rig(self._folder / str(len(self._made)), *args, **kwargs)
        self._made.append(rig)
        return rig

    def close(self) -> None:
        for rig in self._made:
            rig.close()

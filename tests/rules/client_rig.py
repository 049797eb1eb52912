"""The plugin's volume in the test's own process, over real data servers; the test is the MDM."""

import threading
from pathlib import Path

from appliance.domain import model
from nbd_plugin import volume
from tests.fakes import legs

K = 4096
SIZE = 64 << 20
IN_SYNC, SYNCING, STALE = model.ReplicaState


class Clients:
    """``servers`` x and y; ``generation`` is the newest one."""

    def __init__(self, folder: Path) -> None:
        self.servers = {name: legs.LegServer(folder / name, SIZE) for name in ("x", "y")}
        self.generation = 0
        self._made: list[volume.Volume] = []
        self._life = threading.Timer(60.0, self.close)  # no signal ends a wait inside libnbd
        self._life.daemon = True
        self._life.start()

    def client(self) -> volume.Volume:
        made = volume.Volume(f"i{len(self._made)}", False, lambda: None)
        made.start()
        self._made.append(made)
        return made

    def map(
        self,
        states: dict[str, model.ReplicaState] | None = None,
        serve: dict[str, dict[str, object]] | None = None,
        kept: dict[str, model.Leg] | None = None,
        **fields: object,
    ) -> model.VolumeMap:
        """The next generation's map. ``kept``: legs whose servers are not sealed and go on."""
        states = {"x": IN_SYNC, "y": IN_SYNC} | (states or {})
        self.generation += 1
        found = []
        for name, server in self.servers.items():
            if states[name] is STALE:
                continue
            leg = (kept or {}).get(name)
            found.append(leg if leg is not None else server.serve(**(serve or {}).get(name, {})))
        return model.VolumeMap(
            "v", "v", SIZE, True, self.generation, 1,
            (tuple(model.Replica(name, states[name]) for name in ("x", "y")),),
            tuple(found), **fields,
        )  # fmt: skip

    def used(self, volume_map: model.VolumeMap, by: volume.Volume | None = None) -> volume.Volume:
        """A client that works by ``volume_map`` now."""
        by = by or self.client()
        by.adopt(volume_map)
        legs.until(
            lambda: (
                by._mapping.epoch is not None
                and by._mapping.epoch.generation == volume_map.generation
            )
        )
        return by

    def value(self, name: str, block: int = 0) -> int:
        return self.servers[name].read(block * K, 1)[0]

    def close(self) -> None:
        for made in self._made:
            made.fail("the test is over")
            made.stop()
        for server in self.servers.values():
            server.kill()
        self._life.cancel()


def block(value: int) -> memoryview:
    return memoryview(bytes([value]) * K)


def read(by: volume.Volume, at: int = 0) -> int:
    view = memoryview(bytearray(K))
    by.read(view, at * K)
    return view[0]


def reading(by: volume.Volume, at: int = 0) -> legs.Doing:
    return legs.Doing(read, by, at)


def writing(by: volume.Volume, value: int, at: int = 0, fua: bool = False) -> legs.Doing:
    return legs.Doing(by.write, block(value), at * K, fua)

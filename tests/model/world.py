"""The world the adversary works on: the real services, simulated agents with simulated bytes, and
clients that work as the plugin does. ``check`` states what R1, R2, R3 and R7 promise."""

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy

from appliance.domain import model
from tests.fakes import simulated_agents, simulated_cluster, simulated_data


@dataclass
class Place:
    """One database file and one engine for all runs: see ``simulated_cluster.connect``.

    ``ids`` counts what the MDM names: a run that is repeated must have the same names, for they
    decide placement and order.
    """

    template: Path
    folder: Path
    engine: sqlalchemy.Engine
    ids: Iterator[int]

    def begin(self, servers: int) -> simulated_cluster.Cluster:
        """A new cluster of some SDSs and two clients on a new database."""
        self.ids = itertools.count(1)
        self.engine.dispose()
        for old in self.folder.iterdir():
            old.unlink()
        shutil.copy(self.template / "mdm.db", self.folder)
        return simulated_cluster.Cluster(self.folder, self.engine, servers, sdcs=2)


class World:
    """One column on two SDSs, two clients of which each writes a block of its own.

    ``truth`` is what may be read: the values of each block that nobody may call wrong.
    """

    servers = 2

    def __init__(self, place: Place) -> None:
        self.c = place.begin(self.servers)
        self.volume = self.c.create(shareable=True)
        self.c.map(self.volume, 0)
        self.c.map(self.volume, 1)
        self.storage = simulated_data.Storage(self.c.sds, self.volume)
        self.writers: list[simulated_data.Writer | None] = [None, None]
        self.sent: list[simulated_data.Sent] = []
        self.truth: dict[int, set[int]] = {b: {0} for b in simulated_data.BLOCKS}
        self.flushed: dict[int, set[int]] = {b: {0} for b in simulated_data.BLOCKS}
        self.cut: set[tuple[int, int]] = set()
        self.value = 0
        self.lost = 0
        self.steps(6)

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.c.step()
            self.storage.follow()
            self.clients()
            self.check()

    def clients(self) -> None:
        for client, agent in enumerate(self.c.sdcs):
            for plugin in agent.plugins.values():
                self._drive(client, plugin)

    # --- how a plugin works ----------------------------------------------------------------

    def _drive(self, client: int, plugin: simulated_agents.SimPlugin) -> None:
        volume_map = plugin.map
        if volume_map is None:
            return
        writer = self.writers[client]
        if writer is None or writer.incarnation != plugin.status.incarnation:
            writer = self.writers[client] = simulated_data.Writer(plugin.status.incarnation)
        if writer.generation != volume_map.generation:
            self._lose(writer, volume_map)
            writer.generation = volume_map.generation
            writer.pulses.clear()
            writer.broken.clear()
            if plugin.status.ended:
                return
        if plugin.status.left >= volume_map.generation or plugin.status.ended:
            return
        written = {r.device_id for r in volume_map.columns[0] if r.written}
        for leg in volume_map.legs:
            if self.reaches(client, leg):
                writer.pulses[leg.device_id] = self.c.clock.now
            elif self.c.clock.now - writer.pulses.get(leg.device_id, 0.0) > model.PULSE_S:
                plugin.suspect(leg.device_id)
        for write in writer.writes:
            if write.generation != volume_map.generation:
                write.generation, write.acks = volume_map.generation, set()
                self._send(client, writer, volume_map, write)
            missing = {leg for leg in volume_map.legs if leg.device_id not in write.acks}
            dead = [leg.device_id for leg in missing if not self.reaches(client, leg)]
            if dead:
                plugin.suspect(*dead)
                plugin.leave(volume_map.generation)
        assert written == {leg.device_id for leg in volume_map.legs}

    def _send(self, client, writer, volume_map, write) -> None:
        if not all(self.reaches(client, leg) for leg in volume_map.legs):
            return  # a mark cannot be made: the write waits for a turn
        for leg in volume_map.legs:
            self.storage.store(leg.device_id).marks[writer.incarnation].add(write.block)
            writer.marked.add((leg.device_id, write.block))
            self.sent.append(
                simulated_data.Sent(
                    writer.incarnation,
                    leg.device_id,
                    leg.data_export,
                    volume_map.generation,
                    write.block,
                    write.value,
                )
            )

    def acknowledged(self, writer: simulated_data.Writer, sent: simulated_data.Sent) -> None:
        client = self.writers.index(writer)
        (plugin,) = self.c.sdcs[client].plugins.values()
        if plugin.map is None or plugin.status.left >= sent.generation:
            return  # the generation was left: its acknowledgements are nobody's
        if not self.reaches(client, plugin.map.leg(sent.device_id)):
            return  # the answer was lost
        for write in list(writer.writes):
            if (write.value, write.generation) == (sent.value, sent.generation):
                write.acks.add(sent.device_id)
                if write.acks == {leg.device_id for leg in plugin.map.legs}:
                    writer.writes.remove(write)
                    self.truth[write.block] = {write.value}

    def suspects(self, sent: simulated_data.Sent) -> None:
        for client, writer in enumerate(self.writers):
            if writer is None or writer.incarnation != sent.incarnation:
                continue
            (plugin,) = self.c.sdcs[client].plugins.values()
            if plugin.map is not None and plugin.map.generation == sent.generation:
                plugin.suspect(sent.device_id)
                plugin.leave(sent.generation)

    def _lose(self, writer: simulated_data.Writer, volume_map: model.VolumeMap) -> None:
        """R7: told that every keeper lost its cache, whoever shares the volume starts anew."""
        if volume_map.lost_generation > max(self.lost, writer.generation):
            self.lost = volume_map.lost_generation
        if writer.generation and volume_map.lost_generation > writer.generation:
            client = self.writers.index(writer)
            self.c.sdcs[client].crash_plugins()
            self.writers[client] = None

    # --- what is so -------------------------------------------------------------------------

    def used(self, client: int):
        writer = self.writers[client]
        agent = self.c.sdcs[client]
        plugin = next(iter(agent.plugins.values()), None)
        if writer is None or plugin is None or plugin.map is None:
            return None
        if plugin.status.left >= plugin.map.generation or plugin.status.ended:
            return None
        if plugin.status.incarnation != writer.incarnation:
            return None
        return writer, plugin.map

    def reaches(self, client: int, leg: model.Leg) -> bool:
        number = next(n for n, a in enumerate(self.c.sds) if leg.device_id in a.paths)
        return (client, number) not in self.cut and self.storage.alive(leg)

    def doubtful(self) -> bool:
        live = {p.status.incarnation for a in self.c.sdcs for p in a.plugins.values()}
        row = self.c.row(self.volume)
        return any(i.state in ("live", "doubt") and i.id not in live for i in row.incarnations)

    def in_flight(self, block: int) -> bool:
        return any(s.block == block for s in self.sent) or any(
            w.block == block for writer in self.writers if writer for w in writer.writes
        )

    def check(self) -> None:
        row = self.c.row(self.volume)
        good = [r.device_id for r in row.replicas if r.state == "in_sync"]
        assert good, "R1: no copy in sync is left"
        if row.lost_generation > self.lost:
            # Acknowledged, unflushed writes may be gone, and it was said so.
            self.lost = row.lost_generation
            for block in simulated_data.BLOCKS:
                kept = {self.storage.store(d).read(block) for d in good}
                self.truth[block] |= kept
        if row.turn_open or any(
            leg.generation != row.generation for leg in row.legs if leg.device_id in good
        ):
            return
        if any(i.state == "doubt" for i in row.incarnations) or self.doubtful():
            return
        stores = [self.storage.store(device_id) for device_id in good]
        serving = [self.storage.leg(d) for d in good]
        if not all(leg and leg.server and leg.generation == row.generation for leg in serving):
            return
        for block in simulated_data.BLOCKS:
            values = {store.read(block) for store in stores}
            if len(values) > 1:
                unmarked = [d for d, s in zip(good, stores, strict=True) if block not in s.marked()]
                assert not unmarked, f"R3: copies differ in block {block}, unmarked on {unmarked}"
            assert values <= self.truth[block], (block, values, self.truth[block])
            if not self.in_flight(block):
                assert len(values) == 1, f"block {block}: {values} with nothing in flight"

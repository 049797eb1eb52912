"""The adversary: anything that can go wrong between any two steps of the world. After each step
the promises of R1, R2, R3 and R7 are checked."""

from hypothesis import stateful
from hypothesis import strategies as st

from appliance.domain import model
from tests.fakes import simulated_data
from tests.model import world

SDS = st.integers(0, 1)
CLIENT = st.integers(0, 1)
BLOCK = st.sampled_from(simulated_data.BLOCKS)


class Adversary(world.World, stateful.RuleBasedStateMachine):
    """Each rule is something that may happen at any moment. ``place`` is set by conftest."""

    place: world.Place

    def __init__(self) -> None:
        stateful.RuleBasedStateMachine.__init__(self)
        world.World.__init__(self, self.place)

    # --- time and the control plane ---------------------------------------------------

    @stateful.rule(count=st.integers(1, 8))
    def time_goes_on(self, count: int) -> None:
        self.steps(count)

    @stateful.rule()
    def a_long_time_goes_on(self) -> None:
        self.steps(35)

    @stateful.rule(sds=SDS)
    def a_report_arrives_and_its_orders_are_lost(self, sds: int) -> None:
        agent = self.c.sds[sds]
        if not agent.silent:
            self.c.beats.sds(agent.id, agent.beat())

    @stateful.rule(client=CLIENT)
    def a_client_s_report_arrives_and_its_orders_are_lost(self, client: int) -> None:
        agent = self.c.sdcs[client]
        if not agent.silent:
            self.c.beats.sdc(agent.id, agent.beat())

    @stateful.rule(sds=SDS)
    def orders_arrive_twice(self, sds: int) -> None:
        agent = self.c.sds[sds]
        if not agent.silent:
            beat = agent.beat()
            orders = self.c.beats.sds(agent.id, beat)
            agent.take(beat, orders)
            agent.take(beat, orders)
            self.storage.follow()

    @stateful.rule(sds=SDS)
    def an_sds_loses_or_finds_the_mdm(self, sds: int) -> None:
        self.c.sds[sds].silent = not self.c.sds[sds].silent

    @stateful.rule(client=CLIENT)
    def a_client_loses_or_finds_the_mdm(self, client: int) -> None:
        self.c.sdcs[client].silent = not self.c.sdcs[client].silent

    @stateful.rule(client=CLIENT, sds=SDS)
    def a_client_loses_or_finds_an_sds(self, client: int, sds: int) -> None:
        self.cut ^= {(client, sds)}

    @stateful.rule()
    def the_mdm_restarts(self) -> None:
        self.c.restart()

    @stateful.rule(sds=SDS)
    def servers_die(self, sds: int) -> None:
        self.c.sds[sds].stop_servers()

    @stateful.rule(sds=SDS)
    def an_agent_restarts(self, sds: int) -> None:
        self.c.sds[sds].restart()

    @stateful.rule(sds=SDS)
    def a_host_reboots(self, sds: int) -> None:
        self.c.sds[sds].reboot()
        self.storage.lose_cache(self.c.sds[sds])

    @stateful.rule(sds=SDS)
    def pages_reach_the_disk_by_themselves(self, sds: int) -> None:
        for device_id in self.c.sds[sds].paths:
            self.storage.store(device_id).sync()

    @stateful.rule(sds=SDS)
    def an_sds_cannot_seal_or_can_again(self, sds: int) -> None:
        self.c.sds[sds].sealing = not self.c.sds[sds].sealing

    @stateful.rule(client=CLIENT)
    def a_plugin_dies(self, client: int) -> None:
        self.c.sdcs[client].crash_plugins()
        self.writers[client] = None

    @stateful.rule(sds=SDS)
    def a_copy_goes_on(self, sds: int) -> None:
        busy = {w.block for writer in self.writers if writer for w in writer.writes}
        for device_id in self.c.sds[sds].paths:
            self.storage.copy(device_id, busy)

    # --- the data path ------------------------------------------------------------------

    @stateful.rule(client=CLIENT)
    def a_client_writes(self, client: int) -> None:
        writer = self.writers[client]
        block = client  # each its own: they share as a cluster file system would
        if writer is None or any(w.block == block for w in writer.writes):
            return
        self.value += 1
        self.truth[block].add(self.value)
        writer.writes.append(simulated_data.Write(block, self.value))
        writer.unflushed = True
        self.clients()

    @stateful.rule(index=st.integers(0, 7))
    def a_write_lands(self, index: int) -> None:
        if not self.sent:
            return
        sent = self.sent.pop(index % len(self.sent))
        found = self.storage.leg(sent.device_id)
        if found is None or found.server != sent.export:
            self.suspects(sent)
            return
        self.storage.store(sent.device_id).cache[sent.block] = sent.value
        for writer in self.writers:
            if writer is not None and writer.incarnation == sent.incarnation:
                self.acknowledged(writer, sent)

    @stateful.rule(client=CLIENT)
    def a_client_flushes(self, client: int) -> None:
        used = self.used(client)
        if used is None:
            return
        writer, volume_map = used
        if writer.writes or not all(self.reaches(client, leg) for leg in volume_map.legs):
            return
        for leg in volume_map.legs:
            self.storage.store(leg.device_id).sync()
        writer.unflushed = False
        self.flushed[client] = set(self.truth[client])
        if volume_map.all_in_sync:
            for leg in volume_map.legs:
                self.storage.store(leg.device_id).marks[writer.incarnation].clear()
            writer.marked.clear()

    @stateful.rule(client=CLIENT, block=BLOCK, slot=st.integers(0, 1))
    def a_client_reads(self, client: int, block: int, slot: int) -> None:
        used = self.used(client)
        if used is None:
            return
        writer, volume_map = used
        replica = volume_map.columns[0][slot]
        if not replica.readable or not self.reaches(client, volume_map.leg(replica.device_id)):
            return
        for other in volume_map.columns[0]:
            fresh = writer.pulses.get(other.device_id, 0.0) > self.c.clock.now - model.PULSE_S
            if other.written and other != replica and not fresh:
                return
        if self.doubtful():
            return  # whoever shares a volume with a client that died may see both, until the turn
        value = self.storage.store(replica.device_id).read(block)
        assert value in self.truth[block], (value, self.truth)
        if not self.in_flight(block):
            self.truth[block] = {value}

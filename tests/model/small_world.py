"""A small world in which anything may go wrong, for ``explorer`` to walk through.

One column, two blocks in two regions, two clients that share the volume as with a cluster file
system: of one block, one write at a time. The steps are small: a message, an acknowledgement, a
page reaching the disk. ``Violation`` is raised as soon as a promise of R1, R2, R3, R6 or R7 is
broken. A planted bug overrides one of the first methods.
"""

from dataclasses import dataclass, field

from appliance.domain import intents, layout, model
from tests.model import small_mdm
from tests.model.small_mdm import IN_SYNC, Map, Report

BLOCKS = (0, 1)
SIZE = 2 * model.REGION_BYTES

#: After this long without a report an SDS is thought to be gone. Seconds.
SILENT_S = 3.0


class Violation(AssertionError):
    """A promise was broken; the text says which."""


@dataclass(slots=True)
class Write:
    """``generation`` under which it was sent last, and who acknowledged that."""

    block: int
    value: int
    generation: int = 0
    acks: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Held:
    """A write inside a server: applied at any time, for as long as that server lives."""

    incarnation: int
    server: int
    generation: int
    write: Write


@dataclass(slots=True)
class Sds:
    """One device. ``cache`` hides ``disk``; marks are durable; ``server`` 0: nothing is served."""

    disk: dict[int, int] = field(default_factory=lambda: dict.fromkeys(BLOCKS, 0))
    cache: dict[int, int] = field(default_factory=dict)
    marks: dict[int, bytearray] = field(default_factory=dict)
    joined: bytearray = field(default_factory=lambda: bytearray(intents.file_length(SIZE)))
    copy_generation: int = 0
    to_copy: set[int] = field(default_factory=set)
    copied: int = 0
    copy_from: str = ""
    cache_id: int = 0
    generation: int = 0
    server: int = 0
    flushed: bool = False
    synced: frozenset[int] = frozenset()
    hears_mdm: bool = True
    heard_s: float = 0.0
    held: list[Held] = field(default_factory=list)

    def read(self, block: int) -> int:
        return self.cache.get(block, self.disk[block])

    def sync(self) -> None:
        self.disk.update(self.cache)
        self.cache.clear()

    def dirty(self) -> set[int]:
        return set(intents.dirty_regions(intents.union(self.joined, *self.marks.values())))


@dataclass(slots=True)
class Client:
    """A host with the volume mapped; ``incarnation`` 0 while no plugin runs."""

    incarnation: int = 0
    dead: int = 0
    map: Map | None = None
    left: int = 0
    writes: list[Write] = field(default_factory=list)
    pulses: dict[str, float] = field(default_factory=dict)
    marked: set[tuple[str, int]] = field(default_factory=set)
    unflushed: set[int] = field(default_factory=set)
    suspects: set[str] = field(default_factory=set)
    hears_mdm: bool = True
    cut: set[str] = field(default_factory=set)

    @property
    def uses(self) -> Map | None:
        """The map, while anything may be issued under it."""
        if self.incarnation and self.map is not None and self.left < self.map.generation:
            return self.map
        return None


class World:
    new_mdm = small_mdm.Mdm

    # --- what the rules say ---------------------------------------------------------------------

    def resend(self, write: Write, used: Map) -> None:
        """Acknowledgements of an older generation count for nothing (R2)."""
        write.generation, write.acks = used.generation, set()

    def may_read(self, client: Client, used: Map, device: str) -> bool:
        """Every other written replica answered within T (R6)."""
        others = [d for d in used.written if d != device]
        return all(self.now - client.pulses.get(d, -99.0) < model.PULSE_S for d in others)

    def may_clear(self, client: Client, used: Map, region: int) -> bool:
        """Flushed since the last write, and all in sync (R3)."""
        return region not in client.unflushed and len(used.readable) == len(self.sds)

    # --- from the beginning -----------------------------------------------------------------------

    def __init__(self, devices: int = 2) -> None:
        self.now = 0.0
        self.names = 0
        self.sds = {name: Sds() for name in "xyz"[:devices]}
        self.clients = [Client(), Client()]
        column = tuple(model.Replica(name, IN_SYNC) for name in self.sds)
        self.mdm = self.new_mdm(tuple(self.sds), column=column)
        #: what a read may return now; what it may after a loss that was told: all since the flush
        self.allowed: dict[int, set[int]] = {b: {0} for b in BLOCKS}
        self.since_flush: dict[int, set[int]] = {b: {0} for b in BLOCKS}
        self.value = 0
        for client in self.clients:
            client.incarnation = self.name()
        for _ in range(6):
            self.calm()

    def name(self) -> int:
        self.names += 1
        return self.names

    def calm(self) -> None:
        """A moment in which everybody hears everybody, as far as nothing is cut."""
        for device in self.sds:
            self.talk(device)
        for client in self.clients:
            self.talk_client(client)
        self.look()
        for client in self.clients:
            self.ping(client)

    # --- control ----------------------------------------------------------------------------------

    def look(self) -> None:
        gone = {d for d, sds in self.sds.items() if self.now - sds.heard_s > SILENT_S}
        if self.mdm.look(self.now, gone):
            self._lost()
        if not self.mdm.readable_left():
            raise Violation("R1: no copy in sync is left")

    def talk(self, device: str) -> None:
        """A heartbeat and its orders."""
        sds = self.sds[device]
        if not sds.hears_mdm:
            return
        self.report(device)
        order = self.mdm.order(device)
        if order.generation > sds.generation:
            self._seal(sds, order)
        elif sds.server:
            self._follow(device, sds, order)

    def report(self, device: str) -> None:
        """A heartbeat whose answer may be lost."""
        sds = self.sds[device]
        if sds.hears_mdm:
            sds.heard_s = self.now
            said = Report(
                sds.generation, sds.server, sds.cache_id, sds.flushed, sds.synced, sds.copied
            )
            self.mdm.hear(device, said, self.now)

    def _seal(self, sds: Sds, order: small_mdm.Order) -> None:
        """The old server and copier are dead, the new generation durable (R4)."""
        sds.held.clear()
        sds.generation, sds.server = order.generation, self.name()
        sds.marks = {i: sds.marks.get(i, _clean()) for i in order.incarnations}
        sds.flushed, sds.synced, sds.copied, sds.copy_generation = order.flush, frozenset(), 0, 0
        if order.flush:
            sds.sync()

    def _follow(self, device: str, sds: Sds, order: small_mdm.Order) -> None:
        sds.marks = {i: m for i, m in sds.marks.items() if i in order.incarnations}
        if order.retire - sds.synced:
            sds.sync()
        sds.synced = order.retire
        if order.copy_from and sds.copy_generation != order.generation:
            source = self.sds[order.copy_from]
            if not source.server or source.generation != order.generation:
                return
            sds.joined = intents.union(sds.joined, *sds.marks.values(), *source.marks.values())
            sds.copy_generation, sds.copy_from = order.generation, order.copy_from
            sds.to_copy = sds.dirty()

    def copy(self, device: str) -> None:
        """One step, under the lock of every client that has the volume mapped (R8)."""
        sds = self.sds[device]
        if not sds.server or sds.copy_generation != sds.generation or sds.copied:
            return
        source = self.sds[sds.copy_from]
        if not source.server or source.generation != sds.generation:
            return
        block = next(iter(sorted(sds.to_copy)), None)
        if block is None:
            sds.sync()
            sds.joined = _clean()
            sds.copied = sds.generation
            return
        for client in self.clients:
            known = client.incarnation in self.mdm.named
            busy = any(w.block == block for w in client.writes)
            if client.incarnation and known and (busy or _generation(client) != sds.generation):
                return
        sds.cache[block] = source.read(block)
        sds.to_copy.discard(block)

    def talk_client(self, client: Client) -> None:
        if not client.hears_mdm:
            return
        self.report_client(client)
        mdm = self.mdm
        if mdm.turn_open:
            self._leave(client, mdm.generation - 1)
        found = mdm.map_for(client.incarnation) if client.incarnation else None
        if found is None or found.generation <= client.left:
            return
        have = client.map
        if have is None or (found.generation, found.version) > (have.generation, have.version):
            self._adopt(client, found)

    def report_client(self, client: Client) -> None:
        """A heartbeat whose answer may be lost."""
        if client.hears_mdm:
            suspects = client.suspects if _generation(client) == self.mdm.generation else set()
            self.mdm.hear_client(client.incarnation, client.dead, client.left, suspects)

    def _adopt(self, client: Client, found: Map) -> None:
        before = client.map
        if before is not None and found.lost_generation > before.generation:
            self.crash_plugin(client)  # R7: it may have read, or written, what is gone
            return
        if before is None or found.generation > before.generation:
            client.pulses, client.suspects = {}, set()
            syncing = set(found.written) - set(found.readable)
            known = set(before.written) if before is not None else set()
            client.marked = {m for m in client.marked if m[0] in known - syncing}
        client.map = found
        self.ping(client)
        for write in client.writes:
            if write.generation != found.generation:
                self.send(client, found, write)

    def _leave(self, client: Client, generation: int) -> None:
        if client.map is not None and generation >= client.map.generation:
            client.left = max(client.left, generation)

    # --- data ------------------------------------------------------------------------------------

    def reaches(self, client: Client, used: Map, device: str) -> bool:
        server = self.sds[device].server
        return device not in client.cut and server != 0 and server == used.servers[device]

    def ping(self, client: Client) -> None:
        used = client.uses
        for device in used.written if used else ():
            if self.reaches(client, used, device):
                client.pulses[device] = self.now
            elif self.now - client.pulses.get(device, -99.0) >= model.PULSE_S:
                client.suspects.add(device)

    def write(self, client: Client, block: int) -> None:
        used = client.uses
        if used is None or self._busy(block) or self._orphaned(block):
            return
        self.value += 1
        write = Write(block, self.value)
        self.allowed[block] = self.allowed[block] | {write.value}
        self.since_flush[block] = self.since_flush[block] | {write.value}
        client.writes.append(write)
        client.unflushed.add(block)
        self.send(client, used, write)

    def send(self, client: Client, used: Map, write: Write) -> None:
        """Intents on every leg, then data to every leg (R3)."""
        self.resend(write, used)
        if not all(self.reaches(client, used, d) for d in used.written):
            self._give_up(client, used)
            return
        (region,) = layout.regions(write.block * model.REGION_BYTES, 1)
        for device in used.written:
            if (device, region) not in client.marked:
                intents.set_dirty(self.sds[device].marks[client.incarnation], region)
                client.marked.add((device, region))
        for device in used.written:
            if device not in write.acks:
                held = Held(client.incarnation, used.servers[device], used.generation, write)
                self.sds[device].held.append(held)
        self._acknowledge(client, used, write)

    def land(self, device: str, index: int) -> None:
        """A write is applied, and its answer sent, which may be lost on the way."""
        sds = self.sds[device]
        if not sds.held or not sds.server:
            return
        held = sds.held.pop(index % len(sds.held))
        sds.cache[held.write.block] = held.write.value
        for client in self.clients:
            used = client.uses
            if client.incarnation != held.incarnation or used is None:
                continue
            if held.generation != used.generation or held.write not in client.writes:
                continue
            if device in client.cut:
                self._give_up(client, used)
                continue
            held.write.acks.add(device)
            self._acknowledge(client, used, held.write)

    def _acknowledge(self, client: Client, used: Map, write: Write) -> None:
        if set(used.written) <= write.acks and write in client.writes:
            client.writes.remove(write)
            self.allowed[write.block] = {write.value}
            self._check_acknowledged(used, write)

    def _give_up(self, client: Client, used: Map) -> None:
        """This generation cannot acknowledge it any more: a turn is asked for (R5)."""
        client.suspects |= {d for d in used.written if not self.reaches(client, used, d)}
        self._leave(client, used.generation)

    def watch(self, client: Client) -> None:
        """A connection that died with a write in flight is noticed."""
        used = client.uses
        if used is None or not client.writes:
            return
        if not all(self.reaches(client, used, d) for d in used.written):
            self._give_up(client, used)

    def flush(self, client: Client) -> None:
        used = client.uses
        if used is None or client.writes:
            return
        if not all(self.reaches(client, used, d) for d in used.written):
            self._give_up(client, used)
            return
        for device in used.written:
            self.sds[device].sync()
        client.unflushed.clear()
        for block in BLOCKS:
            if not self._busy(block) and not any(block in c.unflushed for c in self.clients):
                self.since_flush[block] = set(self.allowed[block])

    def clear(self, client: Client, region: int) -> None:
        used = client.uses
        if used is None or any(w.block == region for w in client.writes):
            return
        if not self.may_clear(client, used, region):
            return
        if not all(self.reaches(client, used, d) for d in used.written):
            return
        for device in used.written:
            intents.clear_dirty(self.sds[device].marks[client.incarnation], region)
        client.marked = {m for m in client.marked if m[1] != region}

    def read(self, client: Client, block: int, device: str) -> None:
        used = client.uses
        if used is None or device not in used.readable or not self.reaches(client, used, device):
            return
        if not self.may_read(client, used, device) or self._doubtful():
            return
        value = self.sds[device].read(block)
        if value not in self.allowed[block]:
            raise Violation(f"R6: read {value} from {device}, allowed {self.allowed[block]}")
        if not self._busy(block):
            self.allowed[block] = {value}

    # --- trouble ---------------------------------------------------------------------------------

    def crash_plugin(self, client: Client) -> None:
        client.dead, client.incarnation = client.incarnation or client.dead, 0
        client.map, client.writes, client.left = None, [], 0
        client.pulses, client.marked = {}, set()
        client.unflushed, client.suspects = set(), set()

    def start_plugin(self, client: Client) -> None:
        if not client.incarnation:
            client.incarnation = self.name()

    def reboot(self, device: str) -> None:
        """Its page cache is lost, its server and what was in it."""
        self.kill_server(device)
        sds = self.sds[device]
        sds.cache.clear()
        sds.cache_id += 1

    def kill_server(self, device: str) -> None:
        sds = self.sds[device]
        sds.held.clear()
        sds.server, sds.copied, sds.copy_generation = 0, 0, 0
        sds.synced, sds.flushed = frozenset(), False

    # --- what must be so -------------------------------------------------------------------------

    def _busy(self, block: int) -> bool:
        return any(w.block == block for client in self.clients for w in client.writes)

    def _orphaned(self, block: int) -> bool:
        """Whether a dead incarnation's write is in a server still: who shares the volume writes
        there only after the turn that cuts the dead one off, as a cluster file system fences."""
        live = {client.incarnation for client in self.clients}
        held = (held for sds in self.sds.values() for held in sds.held)
        return any(h.write.block == block and h.incarnation not in live for h in held)

    def _doubtful(self) -> bool:
        """Whether an incarnation died and the turn that evens its writes out is not over: until
        then who shares the volume may see both."""
        live = {client.incarnation for client in self.clients}
        open_ = {"live", "doubt"} | ({"retiring"} if self.mdm.turn_open else set())
        return any(s in open_ and i not in live for i, s in self.mdm.incarnations.items())

    def _lost(self) -> None:
        """Acknowledged writes that were not flushed may be gone, and it was said so (R7)."""
        for block in BLOCKS:
            good = {self.sds[d].read(block) for d in self.mdm.readable()}
            if not good <= self.allowed[block] | self.since_flush[block]:
                raise Violation(f"R7: block {block} is {good}, of before the last flush")
            self.allowed[block] |= self.since_flush[block]

    def _check_acknowledged(self, used: Map, write: Write) -> None:
        """R2: an acknowledged write is on every written replica of its map."""
        for device in used.written:
            found = self.sds[device].read(write.block)
            if self.sds[device].server == used.servers[device] and found != write.value:
                raise Violation(f"R2: {write.value} was acknowledged, {device} has {found}")

    def check(self) -> None:
        """What holds in every quiet moment: copies differ in marked regions only (R3), and what
        they have is what may be read (R2, R7)."""
        mdm = self.mdm
        if mdm.turn_open or self._doubtful():
            return
        good = [self.sds[d] for d in mdm.readable()]
        if any(not sds.server or sds.generation != mdm.generation for sds in good):
            return
        for block in BLOCKS:
            values = {sds.read(block) for sds in good}
            if len(values) > 1 and not all(block in sds.dirty() for sds in good):
                raise Violation(f"R3: block {block} is {values} and not marked on both")
            if not self._busy(block):
                if len(values) > 1:
                    raise Violation(f"R2: block {block} is {values} with nothing in flight")
                if not values <= self.allowed[block]:
                    raise Violation(f"R7: block {block} is {values}, not {self.allowed[block]}")


def _clean() -> bytearray:
    return bytearray(intents.file_length(SIZE))


def _generation(client: Client) -> int:
    used = client.uses
    return used.generation if used is not None else (client.map.generation if client.map else 0)

"""SDS and SDC agents as plain objects: they carry out orders as protocol.messages says, at once.

What a test wants to go wrong is a method or an attribute. No processes, no files, no network.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from appliance.domain import model
from appliance.protocol import messages

GIB = 1024**3

_numbers = itertools.count(1)


def _name(what: str) -> str:
    return f"{what}{next(_numbers)}"


@dataclass(slots=True)
class SimLeg:
    """``generation``, ``created``, ``intents`` and ``size`` are durable; the rest dies with the
    agent."""

    volume_id: str
    device_id: str
    generation: int = 0
    created: int = 0
    size: int = 0
    columns: tuple[messages.OwnColumn, ...] = ()
    intents: frozenset[str] = frozenset()
    server: str = ""
    flushed: bool = False
    synced: tuple[str, ...] = ()
    copy: messages.CopyReport | None = None
    copy_order: messages.CopyOrder | None = None
    scrub: messages.ScrubReport | None = None
    deleted: bool = False
    error: str = ""

    def report(self, cache_id: str) -> messages.LegReport:
        serving = bool(self.server)
        return messages.LegReport(
            volume_id=self.volume_id,
            device_id=self.device_id,
            generation=self.generation,
            cache_id=cache_id,
            serving=serving,
            port=7200 if serving else 0,
            data_export=self.server,
            intents={i: f"{self.server}-{i}" if serving else "" for i in sorted(self.intents)},
            size=self.size,
            allocated=True,
            flushed=self.flushed,
            synced=self.synced,
            copy=self.copy,
            scrub=self.scrub,
            deleted=self.deleted,
            error=self.error,
            created=self.created,
        )


@dataclass(slots=True)
class SimSds:
    """``silent``: it hears and says nothing. ``sealing`` false: every seal fails with an error.
    ``flushing`` false: the fdatasync of a seal does not end. ``starting`` false: what is sealed
    is not served."""

    id: str
    name: str
    session: str = field(default_factory=lambda: _name("session"))
    cache: str = field(default_factory=lambda: _name("boot"))
    term: int = 0
    revision: int = 0
    full: bool = True
    silent: bool = False
    sealing: bool = True
    flushing: bool = True
    starting: bool = True
    free: int = 90 * GIB
    paths: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    legs: dict[tuple[str, str], SimLeg] = field(default_factory=dict)
    told: dict[tuple[str, str], messages.LegReport] = field(default_factory=dict)
    told_devices: tuple[messages.DeviceReport, ...] = ()
    refused: list[messages.SdsOrders] = field(default_factory=list)

    def beat(self) -> messages.SdsHeartbeat:
        reports = {key: leg.report(self.cache) for key, leg in self.legs.items()}
        news = [r for key, r in reports.items() if self.full or self.told.get(key) != r]
        return messages.SdsHeartbeat(
            session=self.session,
            boot_id=self.cache,
            revision=self.revision,
            full=self.full,
            devices=tuple(self._device(device_id) for device_id in self.paths),
            legs=tuple(news),
            version="1",
        )

    def has_news(self) -> bool:
        beat = self.beat()
        return self.full or bool(beat.legs) or beat.devices != self.told_devices

    def take(self, beat: messages.SdsHeartbeat, orders: messages.SdsOrders) -> None:
        """``orders`` came back for ``beat``."""
        self.told_devices = beat.devices
        for report in beat.legs:
            self.told[(report.volume_id, report.device_id)] = report
            if report.deleted:
                self.legs.pop((report.volume_id, report.device_id), None)
        if orders.term < self.term:
            self.refused.append(orders)
            return
        again = 0 < self.term < orders.term
        self.term = orders.term
        self.full = orders.report_all or again
        self.paths = {d.device_id: d.path for d in orders.devices if d.wanted}
        for order in orders.legs:
            key = (order.volume_id, order.device_id)
            self._carry_out(self.legs.setdefault(key, SimLeg(*key)), order)
        self.revision = 0 if again else orders.revision

    def stop_servers(self) -> None:
        """The data servers die; the agent and the host live on."""
        for leg in self.legs.values():
            leg.server = ""

    def restart(self) -> None:
        """The agent dies with its servers and comes back."""
        self.session, self.full, self.revision, self.told = _name("session"), True, 0, {}
        for leg in self.legs.values():
            leg.server, leg.flushed, leg.synced, leg.copy, leg.error = "", False, (), None, ""

    def reboot(self) -> None:
        """The host too: the page cache is lost."""
        self.restart()
        self.cache = _name("boot")

    def fail_device(self, device_id: str) -> None:
        self.failed[device_id] = "fdatasync: Input/output error"
        for leg in self.legs.values():
            if leg.device_id == device_id:
                leg.server, leg.error = "", "the device failed"

    def finish_copies(self, generation: int | None = None) -> None:
        """Every ordered copy is complete and durable; ``generation``: which it says it was for."""
        for leg in self.legs.values():
            if leg.copy is not None and leg.copy_order is not None:
                total = leg.copy.total_bytes
                made_for = leg.copy_order.generation if generation is None else generation
                leg.copy = messages.CopyReport(made_for, total, total, done=True)

    def hold_up_copies(self, incarnation: str) -> None:
        """The copiers wait for a lock of ``incarnation``; empty: they go on."""
        for leg in self.legs.values():
            if leg.copy is not None:
                why = "no answer" if incarnation else ""
                leg.copy = replace(leg.copy, waiting=why, waiting_for=incarnation)

    def leg(self, volume_id: str) -> SimLeg:
        return next(leg for (volume, _), leg in self.legs.items() if volume == volume_id)

    def _device(self, device_id: str) -> messages.DeviceReport:
        reason = self.failed.get(device_id, "")
        state = "failed" if reason else "ok"
        return messages.DeviceReport(device_id, state, reason, 100 * GIB, self.free, self.cache)

    def _carry_out(self, leg: SimLeg, order: messages.LegOrder) -> None:
        if order.generation < leg.generation:
            leg.error = f"refused: generation {order.generation} is below {leg.generation}"
        elif order.device_id in self.failed:
            leg.error = "the device failed"
        elif order.delete:
            leg.server, leg.intents, leg.deleted = "", frozenset(), True
        elif order.generation == leg.generation:
            self._follow(leg, order)
        elif self.sealing:
            self._seal(leg, order)
        else:
            leg.server, leg.error = "", "the lock was not had"

    def _seal(self, leg: SimLeg, order: messages.LegOrder) -> None:
        leg.created = leg.created or order.generation
        leg.generation, leg.size, leg.columns = order.generation, order.size, order.columns
        leg.intents = frozenset(order.incarnations)
        leg.server = _name("export") if order.serve and self.starting else ""
        leg.flushed = order.flush and self.flushing
        leg.synced = order.retire
        leg.copy = leg.copy_order = None
        leg.error = ""

    def _follow(self, leg: SimLeg, order: messages.LegOrder) -> None:
        leg.columns = order.columns
        leg.intents &= frozenset(order.incarnations)
        leg.synced = order.retire
        leg.error = ""
        if not order.serve:
            leg.server = ""
        leg.copy_order = order.copy if leg.server else None
        if leg.copy_order is None:
            leg.copy = None
        elif leg.copy is None or leg.copy.generation != leg.copy_order.generation:
            leg.copy = messages.CopyReport(leg.copy_order.generation, 0, 1 << 20)


@dataclass(slots=True)
class SimPlugin:
    """``deaf``: it does not leave a generation when told of a turn."""

    status: messages.PluginStatus
    map: model.VolumeMap | None = None
    probes: tuple[messages.Probe, ...] = ()
    deaf: bool = False
    gone: bool = False

    def suspect(self, *devices: str) -> None:
        self.status = replace(self.status, suspects=devices)

    def miss(self, *devices: str) -> None:
        """Their hosts do not answer."""
        self.status = replace(self.status, unreached=devices)

    def leave(self, generation: int) -> None:
        """Issue nothing more under ``generation`` or an older one."""
        self.status = replace(self.status, left=max(self.status.left, generation))


@dataclass(slots=True)
class SimSdc:
    """One plugin per mapping. ``silent``: it hears and says nothing. ``unreachable``: devices."""

    id: str
    name: str
    session: str = field(default_factory=lambda: _name("session"))
    silent: bool = False
    terms: int = 0
    plugins: dict[str, SimPlugin] = field(default_factory=dict)
    maps: list[model.VolumeMap] = field(default_factory=list)
    told: messages.SdcHeartbeat | None = None
    unreachable: set[str] = field(default_factory=set)

    def beat(self) -> messages.SdcHeartbeat:
        reports = tuple(self._report(ident, plugin) for ident, plugin in self.plugins.items())
        return messages.SdcHeartbeat(self.session, "boot", True, reports, "1")

    def has_news(self) -> bool:
        return self.beat() != self.told

    def take(self, beat: messages.SdcHeartbeat, orders: messages.SdcOrders) -> None:
        """``orders`` came back for ``beat``."""
        self.told = beat
        if orders.term < self.terms:
            return
        self.terms = orders.term
        for order in orders.mappings:
            self._carry_out(order)
        wanted = {order.mapping_id for order in orders.mappings}
        self.plugins = {i: plugin for i, plugin in self.plugins.items() if i in wanted}

    def plugin(self) -> SimPlugin:
        """The only one."""
        (found,) = self.plugins.values()
        return found

    def crash_plugins(self) -> None:
        """Plugins die and are started again: new incarnations."""
        for mapping_id in self.plugins:
            self.plugins[mapping_id] = _started()

    def _carry_out(self, order: messages.MappingOrder) -> None:
        if order.wanted and order.mapping_id not in self.plugins:
            self.plugins[order.mapping_id] = _started()
        plugin = self.plugins.get(order.mapping_id)
        if plugin is None:
            self.plugins[order.mapping_id] = SimPlugin(messages.PluginStatus(""), gone=True)
            return
        if not order.wanted:
            # All answered, a last flush acknowledged.
            plugin.status = replace(plugin.status, ended="unmapped", clean=True)
            plugin.gone = True
            return
        plugin.probes = order.probes
        if order.cut_off and order.cut_off == plugin.status.incarnation:
            plugin.status = replace(plugin.status, ended="cut off")
        if order.open_generation and not plugin.deaf:
            plugin.leave(order.open_generation - 1)
        if order.map is not None and order.incarnation == plugin.status.incarnation:
            self._adopt(plugin, order.map)

    def _adopt(self, plugin: SimPlugin, new: model.VolumeMap) -> None:
        have = plugin.map
        if have is not None and (new.generation, new.version) <= (have.generation, have.version):
            return
        if new.generation <= plugin.status.left:
            return
        same = have is not None and have.generation == new.generation
        plugin.map = new
        self.maps.append(new)
        plugin.status = replace(
            plugin.status,
            generation=new.generation,
            version=new.version,
            suspects=plugin.status.suspects if same else (),
            unreached=(),
            failed=(),
            full=(),
        )

    def _report(self, mapping_id: str, plugin: SimPlugin) -> messages.MappingReport:
        state = "attached" if plugin.map is not None else "starting"
        return messages.MappingReport(
            mapping_id=mapping_id,
            state="detached" if plugin.gone else state,
            incarnation=plugin.status.incarnation,
            backend="none",
            plugin=plugin.status,
            reached={
                probe.device_id: probe.generation
                for probe in plugin.probes
                if probe.device_id not in self.unreachable
            },
        )


def _started() -> SimPlugin:
    return SimPlugin(messages.PluginStatus(_name("incarnation")))


def serving(agents: Iterable[SimSds]) -> int:
    """How many data servers run."""
    return sum(bool(leg.server) for agent in agents for leg in agent.legs.values())

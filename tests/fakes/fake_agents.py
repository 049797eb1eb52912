"""Agents as the MDM sees them: they register, adopt devices, seal legs and delete them, all in
memory. They speak through the real REST client and the real messages."""

import dataclasses
import secrets

import falcon

from appliance.protocol import codec, messages
from appliance.rest import app as rest_app
from appliance.rest import client, server

GIB = 1024**3

#: For one answer: what is tested is not how fast a busy machine is.
_PATIENCE_S = 60.0


class ControlPort:
    """Where all fake agents of a test take hints; ``pokes`` are counted and otherwise ignored."""

    def __init__(self) -> None:
        self.pokes = 0
        application = rest_app.create(quiet=("/poke",))
        application.add_route("/poke", self)
        self._server = server.serve(application, "127.0.0.1", 0, 2)
        self.port = self._server.port

    def on_post(self, _req: falcon.Request, resp: falcon.Response) -> None:
        self.pokes += 1
        resp.status = falcon.HTTP_204

    def close(self) -> None:
        self._server.close()


class FakeSds:
    """Obeys every order at its next ``beat``. ``capacity`` is that of each of its devices."""

    def __init__(
        self,
        url: str,
        join_token: str,
        name: str,
        control_port: int,
        fault_set: str = "",
        capacity: int = 100 * GIB,
    ) -> None:
        self._url = url
        self._join_token = join_token
        self._words = messages.Registration(
            name, ("127.0.0.1",), control_port, fault_set=fault_set, version="0.1.0"
        )
        self._session = secrets.token_hex(8)
        self._revision = 0
        self.capacity = capacity
        self.refuse: dict[str, str] = {}  # path → why
        self.devices: dict[str, messages.DeviceReport] = {}
        self.legs: dict[tuple[str, str], messages.LegReport] = {}
        self._news: set[tuple[str, str]] = set()
        self._full = True
        self.register()

    def register(self, secret: str = "") -> None:
        joining = client.Client(
            [self._url], self._join_token, headers={"X-Basalt-Secret": secret} if secret else None
        )
        answer = joining.post("/api/v1/agents/sds", codec.to_json(self._words))
        joining.close()
        self.identity = codec.from_json(messages.Registered, answer)
        self._client = client.Client([self._url], self.identity.secret, _PATIENCE_S)

    def beat(self) -> messages.SdsOrders:
        """One heartbeat; its orders are obeyed and reported with the next one."""
        told = self.legs if self._full else {k: self.legs[k] for k in self._news}
        beat = messages.SdsHeartbeat(
            session=self._session,
            boot_id="boot",
            revision=self._revision,
            full=self._full,
            devices=tuple(self.devices.values()),
            legs=tuple(told.values()),
            version="0.1.0",
        )
        self._news = set()
        path = f"/api/v1/agents/sds/{self.identity.id}/heartbeat"
        orders = codec.from_json(messages.SdsOrders, self._client.post(path, codec.to_json(beat)))
        self.legs = {key: leg for key, leg in self.legs.items() if not leg.deleted}
        self._full = orders.report_all
        self._revision = orders.revision
        self._adopt(orders.devices)
        for order in orders.legs:
            self._obey(order)
        return orders

    def close(self) -> None:
        self._client.close()

    def _adopt(self, orders: tuple[messages.DeviceOrder, ...]) -> None:
        self.devices = {order.device_id: self._report(order) for order in orders if order.wanted}

    def _report(self, order: messages.DeviceOrder) -> messages.DeviceReport:
        if order.path in self.refuse:
            return messages.DeviceReport(order.device_id, "refused", self.refuse[order.path])
        return messages.DeviceReport(
            order.device_id,
            "ok",
            capacity_bytes=self.capacity,
            free_bytes=self.capacity,
            cache_id="boot:1:1",
        )

    def _obey(self, order: messages.LegOrder) -> None:
        key = (order.volume_id, order.device_id)
        before = self.legs.get(key)
        report = messages.LegReport(
            order.volume_id,
            order.device_id,
            generation=order.generation,
            cache_id="boot:1:1",
            serving=order.serve,
            port=7200,
            data_export=secrets.token_hex(16),
            intents={name: secrets.token_hex(16) for name in order.incarnations},
            size=order.size,
            allocated=True,
            flushed=True,
            synced=order.retire,
            deleted=order.delete,
        )
        if before is not None and before.generation == order.generation and before.serving:
            report = dataclasses.replace(report, data_export=before.data_export)
        self.legs[key] = report
        self._news.add(key)


class FakeSdc:
    """A client that attaches what it is told to, without a plugin."""

    def __init__(self, url: str, join_token: str, name: str, control_port: int) -> None:
        words = messages.Registration(name, ("127.0.0.1",), control_port, version="0.1.0")
        joining = client.Client([url], join_token)
        answer = joining.post("/api/v1/agents/sdc", codec.to_json(words))
        joining.close()
        self.identity = codec.from_json(messages.Registered, answer)
        self._client = client.Client([url], self.identity.secret, _PATIENCE_S)
        self._session = secrets.token_hex(8)
        self._incarnations: dict[str, str] = {}
        self._reports: dict[str, messages.MappingReport] = {}

    def beat(self) -> messages.SdcOrders:
        """One heartbeat; its orders are obeyed and reported with the next one."""
        reports = tuple(self._reports.values())
        beat = messages.SdcHeartbeat(self._session, "boot", True, reports, "0.1.0")
        path = f"/api/v1/agents/sdc/{self.identity.id}/heartbeat"
        orders = codec.from_json(messages.SdcOrders, self._client.post(path, codec.to_json(beat)))
        self._reports = {order.mapping_id: self._obey(order) for order in orders.mappings}
        return orders

    def close(self) -> None:
        self._client.close()

    def _obey(self, order: messages.MappingOrder) -> messages.MappingReport:
        ident = self._incarnations.setdefault(order.mapping_id, secrets.token_hex(8))
        status = messages.PluginStatus(ident)
        if not order.wanted:
            status = dataclasses.replace(status, ended="unmapped", clean=True)
            return messages.MappingReport(order.mapping_id, "detached", ident, plugin=status)
        if order.map is None:
            status = dataclasses.replace(status, left=max(0, order.open_generation - 1))
            return messages.MappingReport(order.mapping_id, "starting", ident, plugin=status)
        status = dataclasses.replace(
            status, generation=order.map.generation, version=order.map.version
        )
        return messages.MappingReport(
            order.mapping_id,
            "attached",
            ident,
            backend="none",
            uri=f"nbd+unix:///?socket=/run/{order.mapping_id}",
            plugin=status,
        )

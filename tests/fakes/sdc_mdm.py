"""An MDM as one SDC agent sees it: registration and heartbeats over real HTTP, orders by hand."""

import dataclasses
import secrets
import threading
from typing import Any

import falcon

from appliance.common import errors
from appliance.protocol import codec, messages
from appliance.rest import app as rest_app
from appliance.rest import body, server
from tests.fakes import sdc_host

JOIN_TOKEN = "join-token-of-the-fake"
CLUSTER = "00000000000000cc"


class SdcMdm:
    """As a real one that finishes every turn at once: a new incarnation gets its map in the
    answer to the report of it."""

    def __init__(self) -> None:
        self.term = 5
        self.cluster_id = CLUSTER
        self.down = False
        self.beats = 0
        self.registrations: list[tuple[messages.Registration, str]] = []
        self.orders: dict[str, messages.MappingOrder] = {}
        self.reports: dict[str, messages.MappingReport] = {}
        self._mutex = threading.Lock()
        self._secret = ""
        application = rest_app.create()
        application.add_route("/api/v1/agents/sdc", _Register(self))
        application.add_route("/api/v1/agents/sdc/{ident}/heartbeat", _Heartbeat(self))
        self._server = server.serve(application, "127.0.0.1", 0, 4)
        self.url = f"http://127.0.0.1:{self._server.port}"

    def close(self) -> None:
        self._server.close()

    def order(self, order: messages.MappingOrder) -> None:
        with self._mutex:
            self.orders[order.mapping_id] = order

    def change(self, ident: str, **changes: Any) -> None:
        self.order(dataclasses.replace(self.orders[ident], **changes))

    def wait_beats(self, more: int) -> None:
        wanted = self.beats + more
        sdc_host.until(lambda: self.beats >= wanted)

    def register(self, words: messages.Registration, kept: str) -> messages.Registered:
        self.registrations.append((words, kept))
        if self._secret and kept != self._secret:
            raise errors.Conflict(why="the secret is missing")
        self._secret = self._secret or secrets.token_hex(8)
        return messages.Registered("00000000000000dd", self._secret, self.cluster_id)

    def beat(self, beat: messages.SdcHeartbeat, secret: str) -> messages.SdcOrders:
        if self.down:
            raise errors.Unavailable(why="the fake MDM is down")
        if secret != self._secret:
            raise errors.Unauthenticated(why="wrong secret")
        with self._mutex:
            self.reports = {report.mapping_id: report for report in beat.mappings}
            for report in beat.mappings:
                order = self.orders.get(report.mapping_id)
                if order is not None and report.incarnation != order.incarnation:
                    self.orders[order.mapping_id] = _with_map(order, report.incarnation)
            self.beats += 1
            return messages.SdcOrders(self.cluster_id, self.term, tuple(self.orders.values()))


def _with_map(order: messages.MappingOrder, incarnation: str) -> messages.MappingOrder:
    generation = order.map.generation + 1 if order.map is not None else 1
    return dataclasses.replace(
        order,
        incarnation=incarnation,
        map=sdc_host.volume_map(order.volume_id, order.size, generation),
    )


class _Register:
    def __init__(self, mdm: SdcMdm) -> None:
        self._mdm = mdm

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        if req.auth != f"Bearer {JOIN_TOKEN}":
            raise errors.Unauthenticated(why="wrong join token")
        words = body.read_message(req, messages.Registration)
        kept = req.get_header("X-Basalt-Secret") or ""
        resp.media = codec.to_json(self._mdm.register(words, kept))


class _Heartbeat:
    def __init__(self, mdm: SdcMdm) -> None:
        self._mdm = mdm

    def on_post(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        beat = body.read_message(req, messages.SdcHeartbeat)
        secret = (req.auth or "").removeprefix("Bearer ")
        resp.media = codec.to_json(self._mdm.beat(beat, secret))

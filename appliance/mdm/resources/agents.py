"""REST: what agents say. Their messages are ``protocol.messages``, read by ``protocol.codec``."""

from typing import Protocol

import falcon

from appliance.mdm.services import context, registration
from appliance.protocol import codec, messages
from appliance.rest import body


class Heartbeats(Protocol):
    """Takes reports, gives orders. Thread-safe; blocks for a transaction at most."""

    def sds(self, sds_id: str, beat: messages.SdsHeartbeat) -> messages.SdsOrders: ...

    def sdc(self, sdc_id: str, beat: messages.SdcHeartbeat) -> messages.SdcOrders: ...


class Agents:
    """/api/v1/agents"""

    def __init__(self, ctx: context.Context, heartbeats: Heartbeats) -> None:
        self._ctx = ctx
        self._heartbeats = heartbeats

    def on_register_sds(self, req: falcon.Request, resp: falcon.Response) -> None:
        words = body.read_message(req, messages.Registration)
        answer = registration.sds(self._ctx, words, _secret(req))
        resp.status, resp.media = falcon.HTTP_201, codec.to_json(answer)
        resp.location = f"/api/v1/sds/{answer.id}"

    def on_register_sdc(self, req: falcon.Request, resp: falcon.Response) -> None:
        words = body.read_message(req, messages.Registration)
        answer = registration.sdc(self._ctx, words, _secret(req))
        resp.status, resp.media = falcon.HTTP_201, codec.to_json(answer)
        resp.location = f"/api/v1/sdcs/{answer.id}"

    def on_sds_heartbeat(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        beat = body.read_message(req, messages.SdsHeartbeat)
        resp.media = codec.to_json(self._heartbeats.sds(ident, beat))

    def on_sdc_heartbeat(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        beat = body.read_message(req, messages.SdcHeartbeat)
        resp.media = codec.to_json(self._heartbeats.sdc(ident, beat))


def _secret(req: falcon.Request) -> str:
    """The secret an agent kept from before, empty for a newcomer."""
    return req.get_header("X-Basalt-Secret") or ""

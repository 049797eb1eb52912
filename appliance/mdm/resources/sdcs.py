"""REST: SDCs, the clients."""

import falcon

from appliance.mdm import bodies
from appliance.mdm.resources import reply
from appliance.mdm.services import context, sdcs
from appliance.rest import body


class Clients:
    """/api/v1/sdcs"""

    def __init__(self, ctx: context.Context) -> None:
        self._ctx = ctx

    def on_list(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = sdcs.list_page(self._ctx, body.query(req, bodies.Page))

    def on_show(self, _req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        resp.media = sdcs.get(self._ctx, ref)

    def on_update(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        change = body.read(req, bodies.SdcChange)
        resp.media = sdcs.update(self._ctx, reply.actor(req), ref, change)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        sdcs.delete(self._ctx, reply.actor(req), ref)
        resp.status = falcon.HTTP_204

"""REST: SDSs."""

import falcon

from appliance.mdm import bodies
from appliance.mdm.resources import reply
from appliance.mdm.services import context, maintenance, sds, withdrawal
from appliance.rest import body


class Servers:
    """/api/v1/sds"""

    def __init__(self, ctx: context.Context) -> None:
        self._ctx = ctx

    def on_list(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = sds.list_page(self._ctx, body.query(req, bodies.Page))

    def on_show(self, _req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        resp.media = sds.get(self._ctx, ref)

    def on_update(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        change = body.read(req, bodies.Rename)
        resp.media = sds.rename(self._ctx, reply.actor(req), ref, change)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        evacuate = body.query(req, bodies.SdsRemoval).evacuate
        reply.gone(resp, withdrawal.remove(self._ctx, reply.actor(req), ref, evacuate))

    def on_evacuate(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        body.read(req, bodies.Nothing)
        reply.gone(resp, withdrawal.evacuate(self._ctx, reply.actor(req), ref))

    def on_readmit(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        resp.media = withdrawal.readmit(self._ctx, reply.actor(req), ref)

    def on_enter_maintenance(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        body.read(req, bodies.Nothing)
        resp.media = maintenance.enter(self._ctx, reply.actor(req), ref)

    def on_leave_maintenance(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        resp.media = maintenance.leave(self._ctx, reply.actor(req), ref)

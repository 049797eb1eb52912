"""REST: fault sets."""

import falcon

from appliance.mdm import bodies
from appliance.mdm.resources import reply
from appliance.mdm.services import context, fault_sets
from appliance.rest import body


class FaultSets:
    """/api/v1/fault-sets"""

    def __init__(self, ctx: context.Context) -> None:
        self._ctx = ctx

    def on_list(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = fault_sets.list_page(self._ctx, body.query(req, bodies.Page))

    def on_create(self, req: falcon.Request, resp: falcon.Response) -> None:
        new = body.read(req, bodies.NewFaultSet)
        made = fault_sets.create(self._ctx, reply.actor(req), new)
        reply.created(resp, f"/api/v1/fault-sets/{made['id']}", made)

    def on_show(self, _req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        resp.media = fault_sets.get(self._ctx, ref)

    def on_update(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        change = body.read(req, bodies.Rename)
        resp.media = fault_sets.rename(self._ctx, reply.actor(req), ref, change)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        fault_sets.delete(self._ctx, reply.actor(req), ref)
        resp.status = falcon.HTTP_204

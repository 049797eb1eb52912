"""REST: storage pools."""

import falcon

from appliance.mdm import bodies
from appliance.mdm.resources import reply
from appliance.mdm.services import balancing, context, pools
from appliance.rest import body


class Pools:
    """/api/v1/pools"""

    def __init__(self, ctx: context.Context) -> None:
        self._ctx = ctx

    def on_list(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = pools.list_page(self._ctx, body.query(req, bodies.Page))

    def on_create(self, req: falcon.Request, resp: falcon.Response) -> None:
        new = body.read(req, bodies.NewPool)
        made = pools.create(self._ctx, reply.actor(req), new)
        reply.created(resp, f"/api/v1/pools/{made['id']}", made)

    def on_show(self, _req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        resp.media = pools.get(self._ctx, ref)

    def on_update(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        change = body.read(req, bodies.PoolChange)
        resp.media = pools.update(self._ctx, reply.actor(req), ref, change)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        pools.delete(self._ctx, reply.actor(req), ref)
        resp.status = falcon.HTTP_204

    def on_rebalance(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        body.read(req, bodies.Nothing)
        reply.gone(resp, balancing.order(self._ctx, reply.actor(req), ref))

"""REST: tokens of people and programs."""

import falcon

from appliance.mdm import bodies
from appliance.mdm.resources import reply
from appliance.mdm.services import context, tokens
from appliance.rest import body


class Tokens:
    """/api/v1/tokens"""

    def __init__(self, ctx: context.Context) -> None:
        self._ctx = ctx

    def on_list(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = tokens.list_page(self._ctx, body.query(req, bodies.Page))

    def on_create(self, req: falcon.Request, resp: falcon.Response) -> None:
        new = body.read(req, bodies.NewToken)
        made = tokens.create(self._ctx, reply.actor(req), new)
        reply.created(resp, f"/api/v1/tokens/{made['id']}", made)

    def on_show(self, _req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        resp.media = tokens.get(self._ctx, ref)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        tokens.delete(self._ctx, reply.actor(req), ref)
        resp.status = falcon.HTTP_204

"""REST: protection domains."""

import falcon

from appliance.mdm import bodies
from appliance.mdm.resources import reply
from appliance.mdm.services import context, domains
from appliance.rest import body


class Domains:
    """/api/v1/domains"""

    def __init__(self, ctx: context.Context) -> None:
        self._ctx = ctx

    def on_list(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = domains.list_page(self._ctx, body.query(req, bodies.Page))

    def on_create(self, req: falcon.Request, resp: falcon.Response) -> None:
        new = body.read(req, bodies.NewDomain)
        made = domains.create(self._ctx, reply.actor(req), new)
        reply.created(resp, f"/api/v1/domains/{made['id']}", made)

    def on_show(self, _req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        resp.media = domains.get(self._ctx, ref)

    def on_update(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        change = body.read(req, bodies.DomainChange)
        resp.media = domains.update(self._ctx, reply.actor(req), ref, change)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        domains.delete(self._ctx, reply.actor(req), ref)
        resp.status = falcon.HTTP_204

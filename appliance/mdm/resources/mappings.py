"""REST: mappings of a volume. ``{mapping}`` is an SDC's id or name, or the mapping's id."""

import falcon

from appliance.mdm import bodies
from appliance.mdm.resources import reply
from appliance.mdm.services import context, mappings
from appliance.rest import body


class Mappings:
    """/api/v1/volumes/{ref}/mappings"""

    def __init__(self, ctx: context.Context) -> None:
        self._ctx = ctx

    def on_list(self, _req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        resp.media = {"items": mappings.list_all(self._ctx, ref), "next": None}

    def on_create(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        new = body.read(req, bodies.NewMapping)
        made = mappings.create(self._ctx, reply.actor(req), ref, new)
        location = f"/api/v1/volumes/{made['volume_id']}/mappings/{made['id']}"
        reply.created(resp, location, made)

    def on_show(self, _req: falcon.Request, resp: falcon.Response, ref: str, mapping: str) -> None:
        resp.media = mappings.get(self._ctx, ref, mapping)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, ref: str, mapping: str) -> None:
        force = body.query(req, bodies.Force).force
        resp.media = mappings.delete(self._ctx, reply.actor(req), ref, mapping, force)
        resp.status = falcon.HTTP_202

"""REST: devices."""

import falcon

from appliance.mdm import bodies
from appliance.mdm.resources import reply
from appliance.mdm.services import context, devices, withdrawal
from appliance.rest import body


class Devices:
    """/api/v1/devices"""

    def __init__(self, ctx: context.Context) -> None:
        self._ctx = ctx

    def on_list(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = devices.list_page(self._ctx, body.query(req, bodies.Page))

    def on_create(self, req: falcon.Request, resp: falcon.Response) -> None:
        new = body.read(req, bodies.NewDevice)
        made = devices.create(self._ctx, reply.actor(req), new)
        reply.created(resp, f"/api/v1/devices/{made['id']}", made)

    def on_show(self, _req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        resp.media = devices.get(self._ctx, ref)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        force = body.query(req, bodies.Force).force
        reply.gone(resp, withdrawal.drain(self._ctx, reply.actor(req), ref, force))

"""REST: volumes."""

import falcon

from appliance.mdm import bodies
from appliance.mdm.resources import reply
from appliance.mdm.services import context, recovery, volume_views, volumes
from appliance.rest import body


class Volumes:
    """/api/v1/volumes"""

    def __init__(self, ctx: context.Context, held_recovery: recovery.Recovery) -> None:
        self._ctx = ctx
        self._recovery = held_recovery

    def on_list(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = volume_views.list_page(self._ctx, body.query(req, bodies.VolumePage))

    def on_create(self, req: falcon.Request, resp: falcon.Response) -> None:
        new = body.read(req, bodies.NewVolume)
        made = volumes.create(self._ctx, reply.actor(req), new)
        reply.created(resp, f"/api/v1/volumes/{made['id']}", made)

    def on_show(self, _req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        resp.media = volume_views.get(self._ctx, ref)

    def on_update(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        change = body.read(req, bodies.VolumeChange)
        resp.media = volumes.update(self._ctx, reply.actor(req), ref, change)

    def on_recovery(self, _req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        resp.media = self._recovery.look(ref)

    def on_recover(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        body.read(req, bodies.Recover)
        resp.media = self._recovery.order(reply.actor(req), ref)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        reply.gone(resp, volumes.delete(self._ctx, reply.actor(req), ref))

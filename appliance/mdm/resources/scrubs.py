"""REST: scrubs."""

import falcon

from appliance.mdm import bodies
from appliance.mdm.resources import reply
from appliance.mdm.services import context, scrubs
from appliance.rest import body


class Scrubs:
    """/api/v1/scrubs, and /api/v1/volumes/{ref}/scrub"""

    def __init__(self, ctx: context.Context) -> None:
        self._ctx = ctx

    def on_list(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = {"items": scrubs.list_all(self._ctx), "next": None}

    def on_action(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        asked = body.read(req, bodies.ScrubAction)
        resp.media = scrubs.act(self._ctx, reply.actor(req), ref, asked.action)

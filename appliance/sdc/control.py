"""The client's control port: health for anybody, the MDM's hint to ask for orders now, and the
range locks a copy needs (R8).

A poke carries nothing and orders nothing, so it needs no token. A lock needs the lock token of
the incarnation, which the MDM gives to this agent and to the copying SDS only.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import falcon

from appliance.protocol import messages
from appliance.rest import app as rest_app
from appliance.rest import body
from appliance.sdc import agent, mappings


class Health:
    """``live``: the process answers. ``ready``: it is registered."""

    def __init__(self, held_agent: agent.Agent, held: mappings.Mappings) -> None:
        self._agent = held_agent
        self._mappings = held

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """GET /health."""
        reports = self._mappings.reports()
        reasons = [f"mapping {each.mapping_id}: {each.error}" for each in reports if each.error]
        hurt = any(each.state == "failed" for each in reports)
        if self._agent.trouble:
            reasons.append(f"no orders from the MDM: {self._agent.trouble}")
        resp.media = {
            "live": True,
            "ready": self._agent.registered,
            "status": "unhealthy" if hurt else "degraded" if reasons else "healthy",
            "reasons": reasons,
        }


class Poke:
    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def on_post(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """POST /poke."""
        self._wake()
        resp.status = falcon.HTTP_204


class Locks:
    def __init__(self, held: mappings.Mappings) -> None:
        self._mappings = held

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """POST /locks, a messages.LockRequest: answered once writes in flight are done."""
        request = body.read_message(req, messages.LockRequest)
        bearer = (req.auth or "").removeprefix("Bearer ")
        if bearer:
            request = dataclasses.replace(request, token=bearer)
        ident, limit_s = self._mappings.lock(request)
        resp.media = {"id": ident, "limit_s": limit_s}


class Lock:
    def __init__(self, held: mappings.Mappings) -> None:
        self._mappings = held

    def on_delete(self, _req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        """DELETE /locks/{ident}: the id is 128 random bits, known to its holder only."""
        self._mappings.unlock(ident)
        resp.status = falcon.HTTP_204


def create(
    held_agent: agent.Agent, held: mappings.Mappings, wake: Callable[[], None]
) -> falcon.App[Any, Any]:
    """The application to serve at the control port."""
    application = rest_app.create(quiet=("/health", "/poke", "/locks", "/locks/{ident}"))
    application.add_route("/health", Health(held_agent, held))
    application.add_route("/poke", Poke(wake))
    application.add_route("/locks", Locks(held))
    application.add_route("/locks/{ident}", Lock(held))
    return application

"""The client's control port: health, metrics and poke (``agent.control``), the range locks a copy
needs (R8), and what a scrub asks.

Both need the lock token of the incarnation, which the MDM gives to this agent and to the copying or
scrubbing SDS only.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import falcon

from appliance.agent import control
from appliance.common import errors
from appliance.protocol import messages
from appliance.rest import body, server
from appliance.sdc import agent, mappings, metrics


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
        resp.media = {"id": ident, "limit_s": limit_s, "instead_of": request.instead_of}


class Lock:
    def __init__(self, held: mappings.Mappings) -> None:
        self._mappings = held

    def on_delete(self, _req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        """DELETE /locks/{ident}: the id is 128 random bits, known to its holder only."""
        self._mappings.unlock(ident)
        resp.status = falcon.HTTP_204


class LockLine:
    def __init__(self, held: mappings.Mappings) -> None:
        self._mappings = held

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """GET /lock-line?incarnation=&generation= with ``Upgrade: basalt-locks``: after the answer
        the connection is a lock line (``messages.locks``)."""
        if req.get_header("Upgrade") != messages.LOCK_LINE:
            raise errors.Invalid(what="lock line", why=f"ask with Upgrade: {messages.LOCK_LINE}")
        incarnation = req.get_param("incarnation", required=True)
        generation = req.get_param_as_int("generation", required=True, min_value=1)
        bearer = (req.auth or "").removeprefix("Bearer ")
        with server.take_over(req.env) as connection:
            self._mappings.lock_line(incarnation, bearer, generation, connection)
        resp.status = falcon.HTTP_101


class Scrubs:
    def __init__(self, held: mappings.Mappings) -> None:
        self._mappings = held

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """POST /scrubs, a messages.ScrubRequest: answered once it is done."""
        request = body.read_message(req, messages.ScrubRequest)
        bearer = (req.auth or "").removeprefix("Bearer ")
        if bearer:
            request = dataclasses.replace(request, token=bearer)
        self._mappings.scrub(request)
        resp.status = falcon.HTTP_204


def create(
    held_agent: agent.Agent, held: mappings.Mappings, wake: Callable[[], None]
) -> falcon.App[Any, Any]:
    """The application to serve at the control port."""

    def look() -> tuple[bool, list[str]]:
        reports = held.reports()
        reasons = [f"mapping {each.mapping_id}: {each.error}" for each in reports if each.error]
        return any(each.state == "failed" for each in reports), reasons

    def told() -> bytes:
        return metrics.render(held.named_reports(), not held_agent.trouble)

    application = control.create(
        held_agent, look, told, wake, quiet=("/locks", "/locks/{ident}", "/lock-line", "/scrubs")
    )
    application.add_route("/locks", Locks(held))
    application.add_route("/locks/{ident}", Lock(held))
    application.add_route("/lock-line", LockLine(held))
    application.add_route("/scrubs", Scrubs(held))
    return application

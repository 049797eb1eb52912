"""REST: the MDM's own resources, reached through MGMT with the rights of whoever asks.

Bodies and answers are the MDM's, which checks them; see its OpenAPI document.
"""

import json
from typing import Any

import falcon

from appliance.common import errors
from appliance.mgmt.services import context, identity


class Storage:
    """Forwards /api/v1/<noun>…; ``parts`` are what Falcon took out of the path."""

    def __init__(self, ctx: context.Context, pattern: str) -> None:
        self._ctx = ctx
        self._pattern = pattern.removeprefix("/api/v1/").split("/")

    def on_get(self, req: falcon.Request, resp: falcon.Response, **parts: str) -> None:
        resp.media = self._mdm(req).get(*self._path(parts), **_query(req))

    def on_post(self, req: falcon.Request, resp: falcon.Response, **parts: str) -> None:
        path = self._path(parts)
        made = self._mdm(req).post(*path, body=_body(req))
        resp.status, resp.media = falcon.HTTP_201, made
        ident = made.get("id") if isinstance(made, dict) else None
        resp.location = "/api/v1/" + "/".join([*path, ident] if ident else path)

    def on_patch(self, req: falcon.Request, resp: falcon.Response, **parts: str) -> None:
        resp.media = self._mdm(req).patch(*self._path(parts), body=_body(req))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, **parts: str) -> None:
        told = self._mdm(req).delete(*self._path(parts), **_query(req))
        resp.status = falcon.HTTP_204 if told is None else falcon.HTTP_202
        if told is not None:
            resp.media = told

    def _mdm(self, req: falcon.Request) -> Any:
        who: identity.Identity = req.context.identity
        return self._ctx.mdm.acting_for(who)

    def _path(self, parts: dict[str, str]) -> list[str]:
        return [parts[one[1:-1]] if one.startswith("{") else one for one in self._pattern]


def _body(req: falcon.Request) -> dict[str, Any]:
    kind = (req.content_type or "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise falcon.HTTPUnsupportedMediaType(description="send application/json")
    try:
        found = json.loads(req.bounded_stream.read() or b"{}")
    except (ValueError, RecursionError) as exc:
        raise errors.Invalid(what="body", why=f"this is not JSON: {exc}") from exc
    if not isinstance(found, dict):
        raise errors.Invalid(what="body", why="send a JSON object")
    return found


def _query(req: falcon.Request) -> dict[str, Any]:
    if any(isinstance(value, list) for value in req.params.values()):
        raise errors.Invalid(what="query", why="give each parameter once")
    return dict(req.params)

"""Errors as pages: what the REST side would say in JSON, in words for people."""

import json
from typing import Any

import falcon

from appliance.mgmt.pages import guard, render

_TITLES = {
    400: "That does not fit", 403: "Not allowed", 404: "Not here", 405: "Not here",
    409: "Not possible now", 429: "Too often", 503: "Not possible now",
}  # fmt: skip


class Problems:
    """Falcon middleware: turns an error's JSON into a page where a person asked."""

    def __init__(self, renderer: "render.Renderer") -> None:
        self._renderer = renderer

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: Any, _ok: bool
    ) -> None:
        if resp.status_code < 400 or not guard.wants_page(req) or resp.text is None:
            return
        if resp.content_type != falcon.MEDIA_JSON:
            return
        told = json.loads(resp.text)
        self._renderer.page(
            req,
            resp,
            "problem.html",
            title=_TITLES.get(resp.status_code, "Something went wrong"),
            words=told["description"],
            request_id=told["request_id"],
        )

"""What every request passes through: its request id, and its one line in the log.

``rest.app`` puts these first in each role's application; they know nothing of a role.
"""

import logging
import re
import time
import urllib.parse
from collections.abc import Collection
from typing import Any

import falcon

from appliance.common import log

logger = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


def accepted_request_id(given: str | None) -> str:
    """The caller's request id if it is ``[A-Za-z0-9-]{1,64}``, else a new one."""
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given
    return log.new_request_id()


class RequestId:
    """Every line this request causes, and its answer, carry its id."""

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        ident = accepted_request_id(req.get_header("X-Request-Id"))
        resp.set_header("X-Request-Id", ident)
        req.context.log_scope = log.request(ident)
        req.context.log_scope.__enter__()

    def process_response(
        self, req: falcon.Request, _resp: falcon.Response, _resource: Any, _ok: bool
    ) -> None:
        # The thread serves other requests after this one.
        req.context.log_scope.__exit__(None, None, None)


class RequestLine:
    """One INFO line per request; what is in ``quiet`` (asked every second) gets a DEBUG line: a
    route, or one method of it as ``GET /path``."""

    def __init__(self, quiet: Collection[str] = ()) -> None:
        self._quiet = frozenset(quiet)

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        req.context.began = time.monotonic()

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: Any, _ok: bool
    ) -> None:
        route = req.uri_template
        quiet = (route in self._quiet or f"{req.method} {route}" in self._quiet) and (
            resp.status_code < 400
        )
        logger.log(
            logging.DEBUG if quiet else logging.INFO,
            "request method=%s path=%s status=%d ms=%.1f peer=%s",
            req.method,
            urllib.parse.quote(req.path),  # a path may hold line ends
            resp.status_code,
            (time.monotonic() - req.context.began) * 1000,
            req.remote_addr,
        )

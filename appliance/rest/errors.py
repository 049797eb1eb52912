"""What an error looks like on the wire: JSON ``{title, description, code, request_id}``.

The only place where an exception becomes an HTTP answer; ``rest.app`` installs it and
``rest.client`` reads it back. The status of each class is in ``protocol.status``.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any

import falcon

from appliance.common import errors, log
from appliance.protocol import status

logger = logging.getLogger(__name__)

#: Codes of what the HTTP layer itself refuses; every other 4xx is ``invalid``.
_HTTP_CODES = {404: errors.NotFound.code, 413: errors.TooLarge.code}


def body(code: str, description: str, request_id: str) -> dict[str, str]:
    """The JSON object of an error. ``title`` is the code in words."""
    return {
        "title": code.replace("_", " ").capitalize(),
        "description": description,
        "code": code,
        "request_id": request_id,
    }


def install(app: falcon.App[Any, Any]) -> None:
    """Make ``app`` answer every exception, foreseen or not, as JSON."""
    app.add_error_handler(Exception, _unforeseen)
    app.add_error_handler(falcon.HTTPError, _http)
    app.add_error_handler(errors.BasaltError, _foreseen)


def _foreseen(
    req: falcon.Request, resp: falcon.Response, error: errors.BasaltError, _params: Any
) -> None:
    meaning = status.meaning(error)
    if error.code == errors.BasaltError.code:
        _unforeseen(req, resp, error, _params)
        return
    if meaning.http >= 500:
        level = logging.WARNING if meaning.http == 503 else logging.ERROR
        logger.log(level, "request_failed code=%s why=%s", error.code, error)
    headers = {}
    if meaning.http == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if meaning.http == 503:
        headers["Retry-After"] = "1"
    _answer(resp, meaning.http, error.code, str(error), headers)


def _http(_req: falcon.Request, resp: falcon.Response, error: Any, _params: Any) -> None:
    """Falcon's own refusals: no such path, wrong method, wrong media type."""
    code = _HTTP_CODES.get(error.status_code, errors.Invalid.code)
    if error.status_code == 404:
        description = "there is nothing at this path; GET /api/v1/openapi.json lists what there is"
    else:
        description = error.description or error.title
    _answer(resp, error.status_code, code, description, dict(error.headers or {}))


def _unforeseen(req: falcon.Request, resp: falcon.Response, error: Exception, _params: Any) -> None:
    logger.error("request_crashed method=%s route=%s", req.method, req.uri_template, exc_info=error)
    ident = log.request_id()
    description = f"an unforeseen error; the server's log has its cause under request id {ident}"
    _answer(resp, 500, errors.BasaltError.code, description, {})


def _answer(
    resp: falcon.Response, http: int, code: str, description: str, headers: Mapping[str, str]
) -> None:
    resp.status = http
    resp.content_type = falcon.MEDIA_JSON
    resp.set_headers(dict(headers))
    resp.stream = None
    resp.data = None
    resp.text = json.dumps(body(code, description, log.request_id()))

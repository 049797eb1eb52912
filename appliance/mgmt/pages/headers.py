"""Headers of every answer: what a browser may do with a page, and with whom."""

from typing import Any

import falcon

from appliance.mgmt.pages import guard

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Headers:
    """Falcon middleware."""

    def __init__(self, behind_tls: bool) -> None:
        self._behind_tls = behind_tls

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: Any, _ok: bool
    ) -> None:
        resp.set_headers(_HEADERS)
        if self._behind_tls:
            resp.set_header("Strict-Transport-Security", "max-age=31536000")
        if not req.path.startswith(guard.STATIC):
            resp.cache_control = ["no-store"]

"""Nobody passes without a login, nobody changes anything by accident of another site, and nobody
does more than the role allows: Falcon middleware before every page and resource.

A program comes with an API token; a browser with the session's cookie, and then every request
that changes something must carry the session's CSRF token too (form field ``csrf`` or header
X-CSRF-Token) and must not come from another origin.
"""

import hmac
from collections.abc import Mapping
from typing import Any
from urllib import parse

import falcon

from appliance.common import errors
from appliance.mgmt.pages import forms
from appliance.mgmt.services import identity, roles, sessions

COOKIE = "basalt_session"

#: Answered without a login.
PUBLIC = frozenset({"/login", "/health/live"})
STATIC = "/static/"

_SAFE = ("GET", "HEAD", "OPTIONS")

Needed = Mapping[tuple[str, str], str]


class Guard:
    """``req.context.identity`` is set for whoever comes after. ``needed`` is the role by method
    and route; what is not in it is refused."""

    def __init__(self, known: sessions.Sessions, needed: Needed) -> None:
        self._sessions = known
        self._needed = needed

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        req.context.identity = None
        if is_public(req.path):
            return
        found = self._identify(req)
        if found is None:
            self._turn_away(req, resp)
            return
        req.context.identity = found

    def process_resource(
        self, req: falcon.Request, resp: falcon.Response, _resource: Any, _params: Any
    ) -> None:
        if is_public(req.path):
            if req.method not in _SAFE:
                _same_origin(req)
            return
        who: identity.Identity | None = req.context.identity
        if who is None:
            raise errors.Unauthenticated(why="there is no session")
        method = "GET" if req.method == "HEAD" else req.method
        needed = self._needed.get((method, req.uri_template or ""))
        if needed is None:
            raise falcon.HTTPMethodNotAllowed([])
        roles.check(who.role, needed, f"user {who.name}")
        if req.method not in _SAFE and who.session_hash:
            _same_origin(req)
            _check_csrf(req, who)

    def _identify(self, req: falcon.Request) -> identity.Identity | None:
        peer = req.remote_addr
        scheme, _, token = (req.auth or "").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return self._sessions.of_token(token.strip(), peer)
        cookies = req.get_cookie_values(COOKIE) or []
        return self._sessions.of_cookie(cookies[0], peer) if len(cookies) == 1 else None

    def _turn_away(self, req: falcon.Request, resp: falcon.Response) -> None:
        if req.method in _SAFE and wants_page(req):
            if req.get_header("HX-Request"):
                # A fragment asked for by a page whose session ended: the page goes to the login.
                resp.set_header("HX-Refresh", "true")
                resp.status, resp.complete = falcon.HTTP_204, True
                return
            back = parse.quote(req.relative_uri, safe="")
            raise falcon.HTTPSeeOther(f"/login?next={back}")
        raise errors.Unauthenticated(why="log in at /login, or send an API token of MGMT")


def is_public(path: str) -> bool:
    return path in PUBLIC or path.startswith(STATIC)


def wants_page(req: falcon.Request) -> bool:
    """Whether the answer is for people, not for a program."""
    return not req.path.startswith(("/api/", "/health/api/", "/metrics"))


def _same_origin(req: falcon.Request) -> None:
    site = req.get_header("Sec-Fetch-Site")
    if site not in (None, "same-origin", "none"):
        raise errors.Forbidden(why=f"it was sent by another site ({site[:20]})")
    origin = req.get_header("Origin")
    if origin is not None and parse.urlsplit(origin).netloc != req.get_header("Host"):
        raise errors.Forbidden(why="it was sent by another site")


def _check_csrf(req: falcon.Request, who: identity.Identity) -> None:
    given = req.get_header("X-CSRF-Token") or ""
    if not given and forms.is_form(req):
        given = forms.read(req).secret("csrf")
    if not hmac.compare_digest(given.encode(), who.csrf.encode()):
        raise errors.Forbidden(
            why="the page was too old or not ours (no valid CSRF token); load it again"
        )

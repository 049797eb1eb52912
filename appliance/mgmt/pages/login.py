"""Logging in and out."""

import falcon

from appliance.common import errors
from appliance.mgmt.pages import base, forms, guard


class Login(base.Pages):
    """/login, /logout"""

    def on_login(self, req: falcon.Request, resp: falcon.Response) -> None:
        self.show(req, resp, "login.html", next=_safe(base.parameter(req, "next", 500)), why="")

    def on_enter(self, req: falcon.Request, resp: falcon.Response) -> None:
        form = forms.read(req)
        back = _safe(form.text("next", 500))
        try:
            value = self.ctx.sessions.login(
                form.text("name", 60), form.secret("password"), req.remote_addr
            )
        except (errors.Unauthenticated, errors.TooMany) as exc:
            many = isinstance(exc, errors.TooMany)
            resp.status = falcon.HTTP_429 if many else falcon.HTTP_401
            why = str(exc) if many else "Name or password is wrong."
            self.show(req, resp, "login.html", next=back, why=why)
            return
        resp.set_cookie(
            guard.COOKIE, value, path="/", http_only=True, same_site="Strict",
            secure=self.ctx.config.behind_tls,
        )  # fmt: skip
        resp.status, resp.location = falcon.HTTP_303, back

    def on_leave(self, req: falcon.Request, resp: falcon.Response) -> None:
        self.ctx.sessions.logout(base.person(req))
        resp.unset_cookie(guard.COOKIE, path="/", same_site="Strict")
        resp.status, resp.location = falcon.HTTP_303, "/login"


def _safe(url: str) -> str:
    """Only a path of this very site is gone to."""
    ok = url.startswith("/") and not url.startswith(("//", "/\\", "/login")) and url.isprintable()
    return url if ok else "/health"

"""Users (administrators), and everyone's own account: password and API tokens."""

import falcon

from appliance.common import errors
from appliance.mgmt.pages import base, forms
from appliance.mgmt.services import roles, users


class Users(base.Pages):
    """/users, /account"""

    def on_list(self, req: falcon.Request, resp: falcon.Response) -> None:
        found = users.everyone(self.ctx.db)
        self.show(req, resp, "users.html", users=found, roles=roles.ORDER)

    def on_create(self, req: falcon.Request, _resp: falcon.Response) -> None:
        form = forms.read(req)

        def body() -> str:
            name = form.need("name")
            role, password = form.need("role"), form.secret("password")
            users.create(self.ctx.db, self.ctx.hasher, base.person(req), name, role, password)
            return f"User {name} was made."

        self.act(req, "/users", body)

    def on_role(self, req: falcon.Request, _resp: falcon.Response, ref: str) -> None:
        form = forms.read(req)

        def body() -> str:
            found = users.change_role(self.ctx.db, base.person(req), ref, form.need("role"))
            return f"{found['name']} has role {found['role']}."

        self.act(req, "/users", body)

    def on_reset(self, req: falcon.Request, _resp: falcon.Response, ref: str) -> None:
        form = forms.read(req)

        def body() -> str:
            users.reset_password(
                self.ctx.db, self.ctx.hasher, base.person(req), ref, form.secret("password")
            )
            return "The password was set; the user's sessions ended."

        self.act(req, "/users", body)

    def on_confirm_delete(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        one = users.get(self.ctx.db, ref)
        self.show(
            req, resp, "confirm.html", title=f"Delete user {one['name']}?",
            words="Sessions and API tokens of this user end at once. What the user did stays in "
            "the audit.",
            name=one["name"], action=f"/users/{ref}/delete", verb="Delete", back="/users",
            force=False,
        )  # fmt: skip

    def on_delete(self, req: falcon.Request, _resp: falcon.Response, ref: str) -> None:
        form = forms.read(req)

        def body() -> str:
            form.confirm(users.get(self.ctx.db, ref)["name"])
            users.delete(self.ctx.db, base.person(req), ref)
            return "The user is gone."

        self.act(req, "/users", body)

    def on_account(self, req: falcon.Request, resp: falcon.Response) -> None:
        who = base.person(req)
        tokens = self.ctx.sessions.tokens(who)
        allowed = [role for role in roles.ORDER if roles.at_least(who.role, role)]
        self.show(req, resp, "account.html", tokens=tokens, allowed=allowed, made=None)

    def on_password(self, req: falcon.Request, _resp: falcon.Response) -> None:
        form = forms.read(req)

        def body() -> str:
            if form.secret("new") != form.secret("again"):
                raise errors.Invalid(what="again", why="the two new passwords differ")
            who = base.person(req)
            old, new = form.secret("old"), form.secret("new")
            users.change_password(self.ctx.db, self.ctx.hasher, who, old, new)
            return "Your password is changed; your other sessions ended."

        self.act(req, "/account", body)

    def on_new_token(self, req: falcon.Request, resp: falcon.Response) -> None:
        form, who = forms.read(req), base.person(req)
        allowed = [role for role in roles.ORDER if roles.at_least(who.role, role)]
        days = form.whole("days") if form.text("days") else None
        if days is not None and not 1 <= days <= 3650:
            raise errors.Invalid(what="days", why="1 to 3650, or none for ever")
        made = self.ctx.sessions.create_token(who, form.need("name"), form.need("role"), days)
        # Shown on this very answer, once; it is kept nowhere.
        tokens = self.ctx.sessions.tokens(who)
        self.show(req, resp, "account.html", tokens=tokens, allowed=allowed, made=made)

    def on_delete_token(self, req: falcon.Request, _resp: falcon.Response, ref: str) -> None:
        def body() -> str:
            self.ctx.sessions.delete_token(base.person(req), ref)
            return "The token is of no use any more."

        self.act(req, "/account", body)

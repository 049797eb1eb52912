"""Alerts, their rules, and the channels over which people hear of them."""

import falcon

from appliance.common import errors
from appliance.mgmt.alerts import catalog, rules, store
from appliance.mgmt.delivery import channels
from appliance.mgmt.pages import base, forms
from appliance.mgmt.services import users

_HOUR_S = 3600.0


class Alerts(base.Pages):
    """/alerts, /rules, /channels"""

    def on_list(self, req: falcon.Request, resp: falcon.Response) -> None:
        status = base.parameter(req, "status") or "open"
        text = base.parameter(req, "q")
        after = base.parameter(req, "after") or None
        found = store.page(self.ctx.db, status, text, after, base.PAGE_SIZE)
        names = users.names(self.ctx.db)
        counts = store.counts(self.ctx.db)
        self.show(
            req, resp, "alerts.html", status=status, q=text, names=names, counts=counts, **found
        )

    def on_show(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        alert = store.get(self.ctx.db, ref)
        names = users.names(self.ctx.db)
        holds = (alert["rule_id"], alert["component_id"]) in self.ctx.watch.holds()
        self.show(req, resp, "alert.html", alert=alert, names=names, holds=holds)

    def on_acknowledge(self, req: falcon.Request, _resp: falcon.Response, ref: str) -> None:
        def body() -> str:
            store.acknowledge(self.ctx.db, base.person(req), ref)
            return "Acknowledged: everyone sees that you look after it."

        self.act(req, _back(req, ref), body)

    def on_resolve(self, req: falcon.Request, _resp: falcon.Response, ref: str) -> None:
        def body() -> str:
            found = store.resolve(self.ctx.db, base.person(req), ref, self.ctx.watch.holds())
            self.ctx.watch.forget((found["rule_id"], found["component_id"]))
            return "Resolved."

        self.act(req, _back(req, ref), body)

    def on_suppress(self, req: falcon.Request, _resp: falcon.Response, ref: str) -> None:
        form = forms.read(req)

        def body() -> str:
            until = self.ctx.clock.wall() + form.number("hours") * _HOUR_S
            store.suppress(self.ctx.db, base.person(req), ref, until, form.text("reason", 500))
            return f"Kept quiet for {form.number('hours'):g} h."

        self.act(req, _back(req, ref), body)

    def on_rules(self, req: falcon.Request, resp: falcon.Response) -> None:
        found = rules.listed(self.ctx.db)
        self.show(req, resp, "rules.html", rules=found, severities=catalog.SEVERITIES)

    def on_rule(self, req: falcon.Request, _resp: falcon.Response, ref: str) -> None:
        form = forms.read(req)

        def body() -> str:
            change = {
                "threshold": form.number("threshold"),
                "clear_threshold": form.number("clear_threshold"),
                "hold_s": form.number("hold_s"),
                "clear_hold_s": form.number("clear_hold_s"),
                "severity": form.need("severity"),
                "enabled": form.ticked("enabled"),
            }
            rules.update(self.ctx.db, base.person(req), ref, change)
            return "The rule is in force as it stands here."

        self.act(req, "/rules", body)

    def on_channels(self, req: falcon.Request, resp: falcon.Response) -> None:
        kinds = {kind: module.FIELDS for kind, module in channels.KINDS.items()}
        found = channels.listed(self.ctx.db)
        self.show(
            req, resp, "channels.html",
            channels=found, kinds=kinds, severities=catalog.SEVERITIES,
        )  # fmt: skip

    def on_new_channel(self, req: falcon.Request, _resp: falcon.Response) -> None:
        form = forms.read(req)

        def body() -> str:
            made = channels.create(
                self.ctx.db, base.person(req), form.need("name"), form.need("kind"),
                form.need("min_severity"), dict(form.all()),
            )  # fmt: skip
            return f"Channel {made['name']} is in use; try it with its test button."

        self.act(req, "/channels", body)

    def on_test(self, req: falcon.Request, _resp: falcon.Response, ref: str) -> None:
        def body() -> str:
            channels.test(self.ctx.db, base.person(req), ref)
            return "The test message was taken."

        self.act(req, "/channels", body)

    def on_switch(self, req: falcon.Request, _resp: falcon.Response, ref: str) -> None:
        enabled = forms.read(req).text("enabled") == "yes"

        def body() -> str:
            channels.enable(self.ctx.db, base.person(req), ref, enabled)
            return "On." if enabled else "Off: nothing is sent over it."

        self.act(req, "/channels", body)

    def on_confirm_delete(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        one = self._channel(ref)
        self.show(
            req, resp, "confirm.html", title=f"Delete channel {one['name']}?",
            words="Nothing is sent over it any more, and what waits to be sent is dropped.",
            name=one["name"], action=f"/channels/{ref}/delete", verb="Delete", back="/channels",
            force=False,
        )  # fmt: skip

    def on_delete(self, req: falcon.Request, _resp: falcon.Response, ref: str) -> None:
        form = forms.read(req)

        def body() -> str:
            form.confirm(self._channel(ref)["name"])
            channels.delete(self.ctx.db, base.person(req), ref)
            return "The channel is gone."

        self.act(req, "/channels", body)

    def _channel(self, ref: str) -> dict[str, str]:
        for one in channels.listed(self.ctx.db):
            if one["id"] == ref:
                return one
        raise errors.NotFound(kind="channel", key=ref[:40])


def _back(req: falcon.Request, ref: str) -> str:
    return "/health" if forms.read(req).text("back") == "/health" else f"/alerts/{ref}"

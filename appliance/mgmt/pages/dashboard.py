"""The dashboard, the topology, and how MGMT itself is."""

from typing import Any

import falcon

from appliance.mgmt.alerts import store
from appliance.mgmt.pages import base
from appliance.mgmt.services import audit, summary

#: Alerts shown on the dashboard; the rest is one click away.
_SHOWN = 8


class Dashboard(base.Pages):
    """/health, /topology, /system, /audit"""

    def on_root(self, _req: falcon.Request, _resp: falcon.Response) -> None:
        raise falcon.HTTPSeeOther("/health")

    def on_health(self, req: falcon.Request, resp: falcon.Response) -> None:
        word, sentence = summary.verdict(self.ctx)
        current = self.ctx.view.current
        alerts = store.page(self.ctx.db, "open", limit=100)["items"]
        loud = [one for one in alerts if one["status"] != store.SUPPRESSED]
        loud.sort(key=lambda one: -_GRAVITY.index(one["severity"]))
        self.show(
            req, resp, "dashboard.html",
            verdict=word.value, sentence=sentence, current=current, alerts=loud[:_SHOWN],
            more=max(0, len(loud) - _SHOWN), point=self.ctx.history.newest(),
            forecast=self.ctx.samples.forecast(),
        )  # fmt: skip

    def on_topology(self, req: falcon.Request, resp: falcon.Response) -> None:
        current = self.ctx.view.current
        self.show(req, resp, "topology.html", current=current)

    def on_system(self, req: falcon.Request, resp: falcon.Response) -> None:
        found = summary.summary(self.ctx)
        self.show(
            req, resp, "system.html", summary=found, components=summary.components(self.ctx),
            uptime_s=self.ctx.clock.monotonic() - self.ctx.started,
        )  # fmt: skip

    def on_audit(self, req: falcon.Request, resp: falcon.Response) -> None:
        before = base.parameter(req, "before")
        found: dict[str, Any] = audit.newest(
            self.ctx.db, int(before) if before.isdecimal() else None, base.PAGE_SIZE
        )
        self.show(req, resp, "audit.html", **found)


_GRAVITY = ("info", "warning", "error", "critical")

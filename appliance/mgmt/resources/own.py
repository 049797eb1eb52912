"""REST: what is MGMT's own: health, alerts, rules, channels, users, tokens, audit, charts."""

from typing import Any

import falcon

from appliance.mgmt import bodies
from appliance.mgmt.alerts import rules, store
from appliance.mgmt.delivery import channels
from appliance.mgmt.services import audit, context, history, identity, prometheus, summary, users
from appliance.rest import body


class Own:
    """/health/api, /metrics and /api/v1"""

    def __init__(self, ctx: context.Context) -> None:
        self._ctx = ctx
        self.document: dict[str, Any] = {}  # set once all routes are known

    def on_live(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = {"live": True}

    def on_summary(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = summary.summary(self._ctx)

    def on_components(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = summary.components(self._ctx)

    def on_metrics(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type = prometheus.CONTENT_TYPE
        resp.data = prometheus.render(self._ctx)

    def on_openapi(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = self.document

    def on_me(self, req: falcon.Request, resp: falcon.Response) -> None:
        who = _who(req)
        resp.media = {"id": who.user_id, "name": who.name, "role": who.role}

    def on_history(self, req: falcon.Request, resp: falcon.Response) -> None:
        wanted = body.query(req, bodies.HistoryPage)
        points = self._ctx.history.points(wanted.volume)
        names = history.Point.__slots__
        resp.media = {name: [getattr(one, name) for one in points] for name in names}

    def on_alerts(self, req: falcon.Request, resp: falcon.Response) -> None:
        page = body.query(req, bodies.AlertPage)
        resp.media = store.page(self._ctx.db, page.status, page.q, page.after, page.limit)

    def on_alert(self, _req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        resp.media = store.get(self._ctx.db, ref)

    def on_acknowledge(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        body.read(req, bodies.Nothing)
        resp.media = store.acknowledge(self._ctx.db, _who(req), ref)

    def on_resolve(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        body.read(req, bodies.Nothing)
        found = store.resolve(self._ctx.db, _who(req), ref, self._ctx.watch.holds())
        self._ctx.watch.forget((found["rule_id"], found["component_id"]))
        resp.media = found

    def on_suppress(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        wanted = body.read(req, bodies.Suppress)
        resp.media = store.suppress(self._ctx.db, _who(req), ref, wanted.until, wanted.reason)

    def on_rules(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = _list(rules.listed(self._ctx.db))

    def on_rule(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        change = body.read(req, bodies.RuleChange).model_dump()
        resp.media = rules.update(self._ctx.db, _who(req), ref, change)

    def on_channels(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = _list(channels.listed(self._ctx.db))

    def on_new_channel(self, req: falcon.Request, resp: falcon.Response) -> None:
        new = body.read(req, bodies.NewChannel)
        made = channels.create(
            self._ctx.db, _who(req), new.name, new.kind, new.min_severity, new.settings
        )
        _created(resp, "channels", made)

    def on_channel(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        change = body.read(req, bodies.ChannelChange)
        resp.media = channels.enable(self._ctx.db, _who(req), ref, change.enabled)

    def on_test_channel(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        body.read(req, bodies.Nothing)
        channels.test(self._ctx.db, _who(req), ref)
        resp.status = falcon.HTTP_204

    def on_delete_channel(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        channels.delete(self._ctx.db, _who(req), ref)
        resp.status = falcon.HTTP_204

    def on_users(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = _list(users.everyone(self._ctx.db))

    def on_new_user(self, req: falcon.Request, resp: falcon.Response) -> None:
        new, ctx = body.read(req, bodies.NewUser), self._ctx
        made = users.create(ctx.db, ctx.hasher, _who(req), new.name, new.role, new.password)
        _created(resp, "users", made)

    def on_user(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        change, who = body.read(req, bodies.UserChange), _who(req)
        if change.role is not None:
            users.change_role(self._ctx.db, who, ref, change.role)
        if change.password is not None:
            users.reset_password(self._ctx.db, self._ctx.hasher, who, ref, change.password)
        resp.media = users.get(self._ctx.db, ref)

    def on_delete_user(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        users.delete(self._ctx.db, _who(req), ref)
        resp.status = falcon.HTTP_204

    def on_tokens(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = _list(self._ctx.sessions.tokens(_who(req)))

    def on_new_token(self, req: falcon.Request, resp: falcon.Response) -> None:
        new = body.read(req, bodies.NewToken)
        made = self._ctx.sessions.create_token(_who(req), new.name, new.role, new.days)
        _created(resp, "tokens", made)

    def on_delete_token(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        self._ctx.sessions.delete_token(_who(req), ref)
        resp.status = falcon.HTTP_204

    def on_audit(self, req: falcon.Request, resp: falcon.Response) -> None:
        page = body.query(req, bodies.AuditPage)
        resp.media = audit.newest(self._ctx.db, page.before, page.limit)


def _who(req: falcon.Request) -> identity.Identity:
    who: identity.Identity = req.context.identity
    return who


def _list(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"items": items, "next": None}


def _created(resp: falcon.Response, noun: str, made: dict[str, Any]) -> None:
    resp.status, resp.media = falcon.HTTP_201, made
    resp.location = f"/api/v1/{noun}/{made['id']}"

"""Every page and every resource of MGMT, each with the least role it needs.

The roles in these tables are the ones that ``pages.guard`` enforces, and the OpenAPI document is
made from the second one: neither can say what the other does not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from appliance.common import errors
from appliance.mgmt import bodies
from appliance.mgmt.pages import activity, alerts, base, dashboard, login, servers, users, volumes
from appliance.mgmt.resources import own, storage
from appliance.mgmt.services import context, roles
from appliance.rest import openapi

_API = "/api/v1"
_M, _C, _A = roles.MONITOR, roles.CONFIGURE, roles.ADMINISTRATOR

Object = dict[str, Any]
Responder = Callable[..., None]

#: Asked so often that their successes are no news.
QUIET = (
    "/health/live", "GET /health", "/health/api/summary", "/health/api/components", "/metrics",
    f"{_API}/history", "GET /alerts", "GET /volumes", "GET /volumes/{ref}", "GET /jobs",
    "GET /servers", "GET /topology", "GET /system",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One method of one path; ``role`` "" is public. ``route`` says more of a resource."""

    method: str
    path: str
    role: str
    responder: Responder
    route: openapi.Route | None = None


def pages(site: base.Site) -> list[Entry]:
    """What people see."""
    enter, board = login.Login(site), dashboard.Dashboard(site)
    volume, server, act = volumes.Volumes(site), servers.Servers(site), activity.Activity(site)
    alert, user = alerts.Alerts(site), users.Users(site)
    one, mapping = "/volumes/{ref}", "/volumes/{ref}/mappings/{mapping}/delete"
    return [
        Entry(*row)
        for row in (
            ("GET", "/login", "", enter.on_login),
            ("POST", "/login", "", enter.on_enter),
            ("POST", "/logout", _M, enter.on_leave),
            ("GET", "/", _M, board.on_root),
            ("GET", "/health", _M, board.on_health),
            ("GET", "/topology", _M, board.on_topology),
            ("GET", "/system", _M, board.on_system),
            ("GET", "/audit", _A, board.on_audit),
            ("GET", "/volumes", _M, volume.on_list),
            ("GET", "/volumes/new", _C, volume.on_new),
            ("POST", "/volumes", _C, volume.on_create),
            ("GET", one, _M, volume.on_show),
            ("POST", f"{one}/map", _C, volume.on_map),
            ("POST", f"{one}/grow", _C, volume.on_grow),
            ("GET", f"{one}/delete", _C, volume.on_confirm_delete),
            ("POST", f"{one}/delete", _C, volume.on_delete),
            ("GET", mapping, _C, volume.on_confirm_unmap),
            ("POST", mapping, _C, volume.on_unmap),
            ("GET", "/servers", _M, server.on_list),
            ("GET", "/servers/{ref}", _M, server.on_show),
            ("POST", "/servers/{ref}/devices", _A, server.on_add_device),
            ("POST", "/servers/{ref}/rename", _A, server.on_rename),
            ("POST", "/servers/{ref}/maintenance", _A, server.on_maintenance),
            ("POST", "/servers/{ref}/evacuation", _A, server.on_evacuation),
            ("GET", "/devices/{ref}", _M, server.on_device),
            ("GET", "/devices/{ref}/delete", _A, server.on_confirm_remove),
            ("POST", "/devices/{ref}/delete", _A, server.on_remove),
            ("GET", "/clients/{ref}", _M, server.on_client),
            ("POST", "/clients/{ref}/approve", _A, server.on_approve),
            ("GET", "/jobs", _M, act.on_jobs),
            ("GET", "/events", _M, act.on_events),
            ("GET", "/events.csv", _M, act.on_csv),
            ("GET", "/events.json", _M, act.on_json),
            ("GET", "/alerts", _M, alert.on_list),
            ("GET", "/alerts/{ref}", _M, alert.on_show),
            ("POST", "/alerts/{ref}/acknowledge", _C, alert.on_acknowledge),
            ("POST", "/alerts/{ref}/resolve", _C, alert.on_resolve),
            ("POST", "/alerts/{ref}/suppress", _C, alert.on_suppress),
            ("GET", "/rules", _M, alert.on_rules),
            ("POST", "/rules/{ref}", _A, alert.on_rule),
            ("GET", "/channels", _A, alert.on_channels),
            ("POST", "/channels", _A, alert.on_new_channel),
            ("POST", "/channels/{ref}/test", _A, alert.on_test),
            ("POST", "/channels/{ref}/switch", _A, alert.on_switch),
            ("GET", "/channels/{ref}/delete", _A, alert.on_confirm_delete),
            ("POST", "/channels/{ref}/delete", _A, alert.on_delete),
            ("GET", "/users", _A, user.on_list),
            ("POST", "/users", _A, user.on_create),
            ("POST", "/users/{ref}/role", _A, user.on_role),
            ("POST", "/users/{ref}/password", _A, user.on_reset),
            ("GET", "/users/{ref}/delete", _A, user.on_confirm_delete),
            ("POST", "/users/{ref}/delete", _A, user.on_delete),
            ("GET", "/account", _M, user.on_account),
            ("POST", "/account/password", _M, user.on_password),
            ("POST", "/account/tokens", _M, user.on_new_token),
            ("POST", "/account/tokens/{ref}/delete", _M, user.on_delete_token),
        )
    ]


def resources(ctx: context.Context) -> list[Entry]:
    """What programs use: all that the pages can do."""
    of = own.Own(ctx)
    found = [*_own(of), *_alerts(of), *_people(of), *_storage(ctx)]
    described = [entry.route for entry in found if entry.route is not None]
    of.document = openapi.document("Basalt MGMT", "0.1.0", described)
    return found


def needed(entries: list[Entry]) -> dict[tuple[str, str], str]:
    """The least role by method and path, for the guard."""
    return {(entry.method, entry.path): entry.role for entry in entries if entry.role}


def _entry(
    method: str, path: str, role: str, responder: Responder, name: str, text: str, tag: str,
    **more: Any,
) -> Entry:  # fmt: skip
    more.setdefault("response", Object)
    if more.get("status") == 204:
        more["response"] = None
    route = openapi.Route(
        method, path, responder, name, text, tag, public=not role,
        **{"raises": (errors.Unavailable,), **more},
    )  # fmt: skip
    return Entry(method, path, role, responder, route)


def _own(of: own.Own) -> list[Entry]:
    obs = "observability"
    return [
        _entry("GET", "/health/live", "", of.on_live, "live", "Whether MGMT answers", obs),
        _entry("GET", "/health/api/summary", _M, of.on_summary, "summary",
               "How everything is", obs),
        _entry("GET", "/health/api/components", _M, of.on_components, "components",
               "Every process and how it is", obs, response=list[Object]),
        _entry("GET", "/metrics", _M, of.on_metrics, "metrics", "The same for Prometheus", obs,
               response=str, content_type="text/plain"),
        _entry("GET", f"{_API}/openapi.json", _M, of.on_openapi, "openapi", "This document", obs),
        _entry("GET", f"{_API}/history", _M, of.on_history, "history",
               "Rates and percentiles over time", obs, query=bodies.HistoryPage),
        _entry("GET", f"{_API}/audit", _A, of.on_audit, "audit", "Who did what, newest first",
               "people", query=bodies.AuditPage),
    ]  # fmt: skip


def _alerts(of: own.Own) -> list[Entry]:
    path, tag = f"{_API}/alerts", "alerts"
    one, nothing = f"{path}/{{ref}}", bodies.Nothing
    rules, channels = f"{_API}/rules", f"{_API}/channels"
    return [
        _entry("GET", path, _M, of.on_alerts, "listAlerts", "List alerts, newest first", tag,
               query=bodies.AlertPage),
        _entry("GET", one, _M, of.on_alert, "getAlert", "Show an alert", tag),
        _entry("POST", f"{one}/acknowledge", _C, of.on_acknowledge, "acknowledgeAlert",
               "Say that you look after it", tag, request=nothing, raises=(errors.Conflict,)),
        _entry("POST", f"{one}/resolve", _C, of.on_resolve, "resolveAlert", "Resolve by hand", tag,
               request=nothing, raises=(errors.Conflict,)),
        _entry("POST", f"{one}/suppress", _C, of.on_suppress, "suppressAlert",
               "Keep it quiet for a time", tag, request=bodies.Suppress,
               raises=(errors.Conflict,)),
        _entry("GET", rules, _M, of.on_rules, "listRules", "List the rules of alerts", tag),
        _entry("PATCH", f"{rules}/{{ref}}", _A, of.on_rule, "updateRule", "Change a rule", tag,
               request=bodies.RuleChange),
        _entry("GET", channels, _A, of.on_channels, "listChannels", "List channels", tag),
        _entry("POST", channels, _A, of.on_new_channel, "createChannel", "Add a channel", tag,
               request=bodies.NewChannel, status=201, raises=(errors.AlreadyExists,)),
        _entry("PATCH", f"{channels}/{{ref}}", _A, of.on_channel, "updateChannel",
               "Switch a channel on or off", tag, request=bodies.ChannelChange),
        _entry("POST", f"{channels}/{{ref}}/test", _A, of.on_test_channel, "testChannel",
               "Send a test message", tag, request=nothing, status=204,
               raises=(errors.Unreachable,)),
        _entry("DELETE", f"{channels}/{{ref}}", _A, of.on_delete_channel, "deleteChannel",
               "Delete a channel", tag, status=204),
    ]  # fmt: skip


def _people(of: own.Own) -> list[Entry]:
    users, tokens, tag = f"{_API}/users", f"{_API}/tokens", "people"
    return [
        _entry("GET", f"{_API}/me", _M, of.on_me, "me", "Who you are here", tag),
        _entry("GET", users, _A, of.on_users, "listUsers", "List users", tag),
        _entry("POST", users, _A, of.on_new_user, "createUser", "Add a user", tag,
               request=bodies.NewUser, status=201, raises=(errors.AlreadyExists,)),
        _entry("PATCH", f"{users}/{{ref}}", _A, of.on_user, "updateUser",
               "Change role or password", tag, request=bodies.UserChange, raises=(errors.InUse,)),
        _entry("DELETE", f"{users}/{{ref}}", _A, of.on_delete_user, "deleteUser", "Delete a user",
               tag, status=204, raises=(errors.InUse,)),
        _entry("GET", tokens, _M, of.on_tokens, "listTokens", "List your tokens", tag),
        _entry("POST", tokens, _M, of.on_new_token, "createToken", "Make a token, shown once", tag,
               request=bodies.NewToken, status=201, raises=(errors.AlreadyExists,)),
        _entry("DELETE", f"{tokens}/{{ref}}", _M, of.on_delete_token, "deleteToken",
               "Withdraw a token", tag, status=204),
    ]  # fmt: skip


#: The MDM's resources that are reached through MGMT: methods and the role for changes.
_NOUNS = (
    ("domains", "GET POST", "GET PATCH DELETE", _A),
    ("fault-sets", "GET POST", "GET PATCH DELETE", _A),
    ("pools", "GET POST", "GET PATCH DELETE", _A),
    ("sds", "GET", "GET PATCH DELETE", _A),
    ("sds/{ref}/maintenance", "POST DELETE", "", _A),
    ("sds/{ref}/evacuation", "POST DELETE", "", _A),
    ("sdcs", "GET", "GET PATCH DELETE", _A),
    ("devices", "GET POST", "GET DELETE", _A),
    ("volumes", "GET POST", "GET PATCH DELETE", _C),
    ("volumes/{ref}/mappings", "GET POST", "GET DELETE", _C),
    ("jobs", "GET", "GET DELETE", _A),
    ("events", "GET", "", _A),
    ("statistics", "GET", "", _A),
    ("status", "GET", "", _A),
    ("cluster", "GET", "", _A),
    ("backups", "GET POST", "", _A),
)


def _storage(ctx: context.Context) -> list[Entry]:
    found = []
    for noun, on_all, on_one, role in _NOUNS:
        key = "{mapping}" if noun.endswith("mappings") else "{ref}"
        for methods, path in ((on_all, f"{_API}/{noun}"), (on_one, f"{_API}/{noun}/{key}")):
            of = storage.Storage(ctx, path)
            for method in methods.split():
                found.append(_forwarded(of, method, path, noun, _M if method == "GET" else role))
    return found


def _forwarded(of: storage.Storage, method: str, path: str, noun: str, role: str) -> Entry:
    responder = getattr(of, f"on_{method.lower()}")
    name = f"{method.lower()}{''.join(part.title() for part in path.split('/')[3:])}"
    name = "".join(sign for sign in name if sign.isalnum())
    more: dict[str, Any] = {"raises": (errors.Conflict, errors.NotFound, errors.Unavailable)}
    if method in ("POST", "PATCH"):
        more["request"] = Object
    if method == "POST":
        more["status"] = 201
    if method == "DELETE":
        more["status"] = 202
    text = f"{method} {noun} of the MDM, with your rights"
    return _entry(method, path, role, responder, name, text, "storage", **more)

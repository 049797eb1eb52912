"""Templates into pages, and what every page has: who is logged in, how the cluster is, the menu."""

import datetime
from pathlib import Path
from typing import Any

import falcon
import jinja2
import markupsafe

from appliance.common import errors, units
from appliance.mgmt.alerts import store
from appliance.mgmt.pages import assets, flash
from appliance.mgmt.services import context, identity, roles, summary

#: Shown where there is no value.
_NONE = "\N{EN DASH}"

_TEMPLATES = Path(__file__).parent.parent / "templates"

#: Address and words of the menu, and the least role that sees it.
MENU = (
    ("/health", "Dashboard", roles.MONITOR),
    ("/alerts", "Alerts", roles.MONITOR),
    ("/volumes", "Volumes", roles.MONITOR),
    ("/servers", "Servers", roles.MONITOR),
    ("/topology", "Topology", roles.MONITOR),
    ("/jobs", "Jobs", roles.MONITOR),
    ("/events", "Events", roles.MONITOR),
    ("/users", "Users", roles.ADMINISTRATOR),
    ("/system", "System", roles.MONITOR),
)


class Renderer:
    """Thread-safe."""

    def __init__(self, ctx: context.Context, flashes: flash.Flash) -> None:
        self._ctx = ctx
        self._flashes = flashes
        self._env = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._env.globals["static"] = assets.url
        self._env.filters.update(
            size=_size, rate=_rate, duration=duration, moment=moment, percent=_percent,
            milliseconds=_milliseconds, number=_number, plain=_plain,
        )  # fmt: skip

    def page(
        self, req: falcon.Request, resp: falcon.Response, template: str, **values: Any
    ) -> None:
        """Fill ``template`` and make it the answer."""
        who: identity.Identity | None = getattr(req.context, "identity", None)
        resp.content_type = falcon.MEDIA_HTML
        resp.text = self._env.get_template(template).render(
            who=who, path=req.path, now=self._ctx.clock.wall(), **self._common(who), **values
        )

    def _common(self, who: identity.Identity | None) -> dict[str, Any]:
        if who is None:
            return {
                "menu": (),
                "word": "",
                "banner": "",
                "note": None,
                "csrf": "",
                "open_alerts": 0,
            }
        word, _ = summary.verdict(self._ctx)
        try:
            active = store.active(self._ctx.db)
        except errors.BasaltError:  # the page that says so is made here too
            active = 0
        return {
            "menu": [one for one in MENU if roles.at_least(who.role, one[2])],
            "word": word.value,
            "banner": self._ctx.db.trouble(),
            "note": self._flashes.take(who.session_hash),
            "csrf": who.csrf,
            "open_alerts": active,
            "may_configure": roles.at_least(who.role, roles.CONFIGURE),
            "may_administer": who.role == roles.ADMINISTRATOR,
        }


def moment(at: float | None) -> markupsafe.Markup:
    """A time in UTC; the script adds local time where there is one."""
    if not at:
        return markupsafe.Markup(_NONE)
    found = datetime.datetime.fromtimestamp(at, datetime.UTC)
    return markupsafe.Markup('<time datetime="{}">{} UTC</time>').format(
        found.isoformat(timespec="seconds"), found.strftime("%Y-%m-%d %H:%M:%S")
    )


def duration(seconds: float | None) -> str:
    """``4 s``, ``3 min``, ``2.5 h``, ``12 days``."""
    if seconds is None:
        return _NONE
    for limit, divisor, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            value = seconds / divisor
            return (
                f"{value:.1f} {unit}" if value < 10 and divisor == 3600 else f"{value:.0f} {unit}"
            )
    return f"{seconds / 86400:.0f} days"


def _size(value: float | None) -> str:
    return _NONE if value is None else units.format_size(int(value))


def _rate(value: float | None) -> str:
    return _NONE if value is None else f"{units.format_size(int(value))}/s"


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else _NONE


def _milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return _NONE
    value = seconds * 1000
    return f"{value:.2f} ms" if value < 10 else f"{value:.0f} ms"


def _plain(value: Any) -> Any:
    """What a program wrote, as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(str(_plain(one)) for one in value)
    return value


def _number(value: float | None) -> str:
    if value is None:
        return _NONE
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"

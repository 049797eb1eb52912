"""What all pages share: the context, the renderer, and how a form's change is answered."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import falcon

from appliance.common import errors
from appliance.mgmt.pages import flash, render
from appliance.mgmt.services import context, identity, mdm

T = TypeVar("T")

PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class Site:
    ctx: context.Context
    renderer: render.Renderer
    flashes: flash.Flash


class Pages:
    """Base of every file of pages."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.ctx = site.ctx

    def show(
        self, req: falcon.Request, resp: falcon.Response, template: str, **values: Any
    ) -> None:
        self.site.renderer.page(req, resp, template, **values)

    def act(
        self, req: falcon.Request, back: str, body: Callable[[], str], failed: str = ""
    ) -> None:
        """Do ``body``, which tells in words what was done, then go to ``back``; or say why it
        was refused and go to ``failed`` (or ``back``)."""
        who = person(req)
        try:
            kind, text = "done", body()
        except (errors.RequestError, errors.Unavailable, errors.Unreachable) as exc:
            kind, text, back = "failed", str(exc), failed or back
        self.site.flashes.put(who.session_hash, kind, text)
        raise falcon.HTTPSeeOther(back)

    def mdm(self, req: falcon.Request) -> mdm.Acting:
        """The MDM, on behalf of whoever asks."""
        return self.ctx.mdm.acting_for(person(req))


def person(req: falcon.Request) -> identity.Identity:
    who: identity.Identity = req.context.identity
    return who


def searched(items: list[dict[str, Any]], text: str, *keys: str) -> list[dict[str, Any]]:
    """Those whose ``keys`` hold ``text``."""
    wanted = text.casefold()
    if not wanted:
        return items
    return [one for one in items if any(wanted in str(one.get(key)).casefold() for key in keys)]


def paged(items: list[T], req: falcon.Request) -> dict[str, Any]:
    """One page of ``items``: the query parameter ``page`` counts from 1."""
    raw = req.params.get("page", "1")
    number = int(raw) if isinstance(raw, str) and raw.isdecimal() and len(raw) < 7 else 1
    pages = max(1, -(-len(items) // PAGE_SIZE))
    number = min(max(1, number), pages)
    return {
        "items": items[(number - 1) * PAGE_SIZE : number * PAGE_SIZE],
        "page": number,
        "pages": pages,
        "total": len(items),
    }


def parameter(req: falcon.Request, name: str, longest: int = 100) -> str:
    """A query parameter's text, empty if it is not there; the first if given twice."""
    value = req.params.get(name, "")
    return (value[0] if isinstance(value, list) else value).strip()[:longest]

"""Cuts long lists into pages that stay right while things come and go: keyset pagination."""

from typing import Any, TypeVarTuple

from sqlalchemy import Select, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from appliance.mdm import bodies

Ts = TypeVarTuple("Ts")


def limited(
    query: Select[*Ts],
    key: InstrumentedAttribute[Any],
    ident: InstrumentedAttribute[Any],
    page: bodies.Page,
) -> Select[*Ts]:
    """``query`` in order of ``key``, after the page's cursor, one row more than it shows."""
    if page.after is not None:
        last_key, _, last_id = page.after.rpartition("~")
        query = query.where(tuple_(key, ident) > (last_key, last_id))
    return query.order_by(key, ident).limit(page.limit + 1)


def cut(items: list[Any], key: str, page: bodies.Page) -> dict[str, Any]:
    """``{"items", "next"}`` from one item more than shown; ``key`` is the items' sort key."""
    if len(items) <= page.limit:
        return {"items": items, "next": None}
    shown = items[: page.limit]
    return {"items": shown, "next": f"{shown[-1][key]}~{shown[-1]['id']}"}

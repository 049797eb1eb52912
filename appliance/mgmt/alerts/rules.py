"""The rules in the database: made from the catalog at the first start, changed by people."""

from typing import Any

from sqlalchemy import select

from appliance.common import errors
from appliance.mgmt.alerts import catalog, engine
from appliance.mgmt.db import database, models
from appliance.mgmt.services import audit, identity

_CHANGEABLE = ("threshold", "clear_threshold", "hold_s", "clear_hold_s", "enabled", "severity")
_YEAR_S = 365 * 86400


def ensure(db: database.Database) -> None:
    """Add rules that the catalog has and the database has not; others stay as they are."""
    with db.write() as tx:
        known = set(tx.session.scalars(select(models.Rule.id)))
        for entry in catalog.BY_ID.values():
            if entry.id not in known:
                rule = entry.rule()
                tx.session.add(
                    models.Rule(
                        id=rule.id,
                        severity=rule.severity,
                        threshold=rule.threshold,
                        clear_threshold=rule.clear_threshold,
                        hold_s=rule.hold_s,
                        clear_hold_s=rule.clear_hold_s,
                        enabled=True,
                    )
                )


def load(db: database.Database) -> dict[str, engine.Rule]:
    """By id; rules of a newer release that the catalog does not know are left out."""
    with db.read() as tx:
        return {
            row.id: _rule(row)
            for row in tx.session.scalars(select(models.Rule))
            if row.id in catalog.BY_ID
        }


def listed(db: database.Database) -> list[dict[str, Any]]:
    """As people see them, in the catalog's order."""
    rules = load(db)
    return [_view(entry, rules[entry.id]) for entry in catalog.BY_ID.values() if entry.id in rules]


def update(
    db: database.Database, by: identity.Identity, ident: str, change: dict[str, Any]
) -> dict[str, Any]:
    """Raises errors.NotFound, or Invalid if the values make no sense together."""
    wanted = {key: value for key, value in change.items() if value is not None}
    with db.write() as tx:
        row = tx.session.get(models.Rule, ident)
        if row is None or ident not in catalog.BY_ID:
            raise errors.NotFound(kind="rule", key=ident[:40])
        old = {key: getattr(row, key) for key in _CHANGEABLE if key in wanted}
        for key in old:
            setattr(row, key, wanted[key])
        _check(row, catalog.BY_ID[ident])
        audit.note(tx, by.name, "rule_changed", ident, by.peer, old=old, new=wanted)
        return _view(catalog.BY_ID[ident], _rule(row))


def _check(row: models.Rule, entry: catalog.Entry) -> None:
    wrong = (
        row.clear_threshold < row.threshold if entry.below else row.clear_threshold > row.threshold
    )
    if wrong:
        side = "below" if entry.below else "above"
        raise errors.Invalid(what="clear_threshold", why=f"it may not lie {side} the threshold")
    if not (0 <= row.hold_s <= _YEAR_S and 0 <= row.clear_hold_s <= _YEAR_S):
        raise errors.Invalid(what="hold_s", why="times are 0 s to one year")
    if row.severity not in catalog.SEVERITIES:
        raise errors.Invalid(what="severity", why=f"one of {', '.join(catalog.SEVERITIES)}")


def _rule(row: models.Rule) -> engine.Rule:
    return engine.Rule(
        id=row.id,
        severity=row.severity,
        threshold=row.threshold,
        clear_threshold=row.clear_threshold,
        hold_s=row.hold_s,
        clear_hold_s=row.clear_hold_s,
        enabled=row.enabled,
        below=catalog.BY_ID[row.id].below,
    )


def _view(entry: catalog.Entry, rule: engine.Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "title": entry.title,
        "severity": rule.severity,
        "unit": entry.unit,
        "below": rule.below,
        "threshold": rule.threshold,
        "clear_threshold": rule.clear_threshold,
        "hold_s": rule.hold_s,
        "clear_hold_s": rule.clear_hold_s,
        "enabled": rule.enabled,
        "meaning": entry.meaning,
        "what_to_do": entry.what_to_do,
    }

"""Storage pools: devices of one domain and media type, in which volumes are made."""

import secrets
from typing import Any

import sqlalchemy
from sqlalchemy import func, select

from appliance.common import errors
from appliance.domain import scrubbing
from appliance.mdm import bodies, shapes
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import capacity, context, pages, refs, scrubs


def create(ctx: context.Context, actor: str, new: bodies.NewPool) -> shapes.Pool:
    """Raises errors.AlreadyExists, NotFound for the domain, or Invalid."""
    with ctx.uow.write(actor) as tx:
        domain = refs.find(tx, models.Domain, new.domain)
        refs.check_free(tx, models.Pool, new.name, domain.id)
        _check_thresholds(new.warn_percent, new.critical_percent)
        row = models.Pool(
            id=secrets.token_hex(8),
            domain_id=domain.id,
            created_at=tx.now,
            **new.model_dump(exclude={"domain"}),
        )
        tx.session.add(row)
        tx.event("pool_created", "pool", row.id, row.name, domain=domain.name, media=row.media)
        tx.session.flush()
        return _Views(tx).of(row)


def get(ctx: context.Context, ref: str) -> shapes.Pool:
    with ctx.uow.read() as tx:
        return _Views(tx).of(refs.find(tx, models.Pool, ref))


def list_page(ctx: context.Context, page: bodies.Page) -> dict[str, Any]:
    with ctx.uow.read() as tx:
        query = pages.limited(select(models.Pool), models.Pool.name, models.Pool.id, page)
        views = _Views(tx)
        return pages.cut([views.of(row) for row in tx.session.scalars(query)], "name", page)


def all_in(tx: unit_of_work.Tx) -> list[shapes.Pool]:
    """Every pool, within a transaction that goes on."""
    views = _Views(tx)
    return [views.of(row) for row in tx.session.scalars(select(models.Pool))]


def update(ctx: context.Context, actor: str, ref: str, change: bodies.PoolChange) -> shapes.Pool:
    """Raises errors.AlreadyExists or Invalid."""
    with ctx.uow.write(actor) as tx:
        row = refs.find(tx, models.Pool, ref)
        asked = change.wanted()
        if change.scrub is not None:
            asked["policy"] = _with_scrub(row, change.scrub)
            del asked["scrub"]
        wanted = {k: v for k, v in asked.items() if getattr(row, k) != v}
        if change.name is not None and "name" in wanted:
            refs.check_free(tx, models.Pool, change.name, row.domain_id)
        old = {key: getattr(row, key) for key in wanted}
        for key, value in wanted.items():
            setattr(row, key, value)
        _check_thresholds(row.warn_percent, row.critical_percent)
        if wanted:
            tx.event("pool_changed", "pool", row.id, row.name, old=old, new=wanted)
        if "policy" in wanted:
            scrubs.policy_changed(tx, row)
        return _Views(tx).of(row)


def delete(ctx: context.Context, actor: str, ref: str) -> None:
    """Raises errors.InUse while it has devices or volumes."""
    with ctx.uow.write(actor) as tx:
        row = refs.find(tx, models.Pool, ref)
        for model, kind, what in (
            (models.Volume, "volumes", "delete them"),
            (models.Device, "devices", "remove them"),
        ):
            count = _count(tx, model, row.id)
            if count:
                why = f"it has {count} {kind}; {what} first"
                raise errors.InUse(kind="pool", key=row.name, why=why)
        tx.event("pool_deleted", "pool", row.id, row.name)
        tx.session.delete(row)


def _scrub(row: models.Pool) -> shapes.ScrubPolicy:
    now = scrubbing.policy(row.policy)
    return {
        "enabled": now.enabled,
        "rate": now.rate,
        "repair": now.repair,
        "interval_days": now.interval_days,
    }


def _with_scrub(row: models.Pool, change: bodies.ScrubChange) -> dict[str, Any]:
    now = _scrub(row)
    return {**row.policy, scrubbing.KEY: {**now, **change.wanted()}}


def _check_thresholds(warn: int, critical: int) -> None:
    if warn > critical:
        raise errors.Invalid(
            what="warn_percent", why=f"{warn} is above critical_percent, which is {critical}"
        )


def _count(tx: unit_of_work.Tx, model: Any, pool_id: str) -> int:
    query = select(func.count()).select_from(model).where(model.pool_id == pool_id)
    return tx.session.scalar(query) or 0


class _Views:
    """Pools as JSON objects, with their figures read once for all."""

    def __init__(self, tx: unit_of_work.Tx) -> None:
        self._capacity = capacity.pools(tx)
        self._devices = _counts(tx, models.Device)
        self._volumes = _counts(tx, models.Volume)
        self._domains = {row.id: row.name for row in tx.session.scalars(select(models.Domain))}

    def of(self, row: models.Pool) -> shapes.Pool:
        space = self._capacity[row.id]
        return {
            "id": row.id,
            "name": row.name,
            "domain": self._domains[row.domain_id],
            "domain_id": row.domain_id,
            "media": row.media,
            "spare_percent": row.spare_percent,
            "warn_percent": row.warn_percent,
            "critical_percent": row.critical_percent,
            "rebuild_policy": row.rebuild_policy,
            "rebuild_copies": row.rebuild_copies,
            "rebuild_bandwidth": row.rebuild_bandwidth,
            "rebalance": row.rebalance,
            "scrub": _scrub(row),
            "capacity_bytes": space["capacity_bytes"],
            "used_bytes": space["used_bytes"],
            "provisioned_bytes": space["provisioned_bytes"],
            "reserved_bytes": space["reserved_bytes"],
            "free_bytes": space["free_bytes"],
            "devices": self._devices.get(row.id, 0),
            "volumes": self._volumes.get(row.id, 0),
            "created_at": row.created_at,
        }


def _counts(tx: unit_of_work.Tx, model: Any) -> dict[str, int]:
    query: sqlalchemy.Select[str, int] = select(model.pool_id, func.count())
    return dict(tx.session.execute(query.group_by(model.pool_id)).all())

"""Volumes as JSON objects: one with everything, or many without a query for each.

A volume's health needs its flawed replicas only, so that a long list costs little while all is
well, however many replicas there are.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy
from sqlalchemy import func, or_, select

from appliance.domain import health, model
from appliance.mdm import bodies, shapes
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import (
    context,
    mapping_views,
    pages,
    proof,
    reach,
    refs,
    scrubs,
    volume_space,
)

#: Begins what is said of a replica that waits for nothing but time.
TRIED_AGAIN = "tried again in"

#: The same of one that left for lack of space.
NO_ROOM = "waits for room on"

_IN_SYNC = model.ReplicaState.IN_SYNC
_STALE = model.ReplicaState.STALE


def get(ctx: context.Context, ref: str) -> shapes.Volume:
    """Raises errors.NotFound."""
    with ctx.uow.read() as tx:
        return one(ctx, tx, refs.find(tx, models.Volume, ref))


def list_page(ctx: context.Context, page: bodies.VolumePage) -> dict[str, Any]:
    """Volumes in order of name; their replicas only if asked for."""
    with ctx.uow.read() as tx:
        ids = pages.limited(select(models.Volume.id), models.Volume.name, models.Volume.id, page)
        items = _many(ctx, tx, ids)
        found = pages.cut(items, "name", page)
        if page.replicas:
            _add_replicas(ctx, tx, found["items"])
        for item in found["items"]:
            item["name"] = shown_name(item["name"])
        return found


def one(ctx: context.Context, tx: unit_of_work.Tx, row: models.Volume) -> shapes.Volume:
    """A volume with its replicas, within a transaction that goes on."""
    places = reach.places(ctx, tx, {replica.device_id for replica in row.replicas})
    flaws = _flaws(ctx, row.id, [(r.column, r.state, r.device_id) for r in row.replicas], places)
    pool = tx.session.get_one(models.Pool, row.pool_id)
    used = sum(leg.used_bytes for leg in row.legs)
    mapped = mapping_views.of_volumes(tx, [row.id]).get(row.id, [])
    errors = {leg.device_id: leg.error for leg in row.legs}
    replicas = [
        _replica(r.column, r.slot, r.state, places[r.device_id], errors.get(r.device_id, ""))
        for r in row.replicas
    ]
    moving = {move.column for move in row.moves}
    summary = _summary(row, pool.name, used, mapped, flaws, proof.trouble(row), moving)
    scrub = scrubs.view(row.scrub, row) if row.scrub is not None else None
    return {**summary, "replicas": replicas, "scrub": scrub}


def fresh(
    ctx: context.Context,
    row: models.Volume,
    pool: str,
    placed: Sequence[Sequence[str]],
    devices: Iterable[volume_space.Candidate],
) -> shapes.Volume:
    """A volume just made and ``placed``, without asking for what is known."""
    places = {d.id: reach.Place(d.id, d.path, "ok", d.sds_id, d.sds_name, d.reach) for d in devices}
    replicas = [
        (column, slot, _IN_SYNC.value, device_id)
        for column, chosen in enumerate(placed)
        for slot, device_id in enumerate(chosen)
    ]
    states = [(column, state, device) for column, _, state, device in replicas]
    flaws = _flaws(ctx, row.id, states, places)
    views = [_replica(*replica[:3], places[replica[3]], "") for replica in replicas]
    return {**_summary(row, pool, 0, [], flaws, ""), "replicas": views, "scrub": None}


def name_in_deletion(name: str, ident: str) -> str:
    """What a volume is called while it is deleted, so that its name is free; no name has a '~'."""
    return f"{name}~{ident}"


def shown_name(name: str) -> str:
    """The name people gave the volume."""
    return name.partition("~")[0]


def states(ctx: context.Context, tx: unit_of_work.Tx) -> list[tuple[health.Health, str, str]]:
    """(health, name, reason) of every volume but those being deleted."""
    flaws = _flaws_of(ctx, tx, None)
    moving = _moving(tx)
    volume = models.Volume
    query = select(volume.id, volume.name, volume.turn_open, volume.stuck)
    found = []
    troubles = proof.troubles(tx)
    for ident, name, turn_open, stuck in tx.session.execute(
        query.where(volume.state != "deleting")
    ):
        word, reason = _health(
            flaws.get(ident, ()), turn_open, troubles.get(ident, ""), moving.get(ident, ())
        )
        found.append((word, name, _with_stuck(reason, stuck)))
    return found


def _many(
    ctx: context.Context, tx: unit_of_work.Tx, ids: sqlalchemy.Select[Any]
) -> list[dict[str, Any]]:
    """One more than the page has, perhaps. Rows are read as plain columns: much cheaper."""
    flaws = _flaws_of(ctx, tx, ids)
    moving = _moving(tx)
    mapped = mapping_views.of_volumes(tx, ids)
    troubles = proof.troubles(tx, ids)
    used_of = select(models.VolumeLeg.volume_id, func.sum(models.VolumeLeg.used_bytes))
    used_of = used_of.where(models.VolumeLeg.volume_id.in_(ids))
    used = dict(tx.session.execute(used_of.group_by(models.VolumeLeg.volume_id)).all())
    query = (
        select(*models.Volume.__table__.c, models.Pool.name.label("pool_name"))
        .join(models.Pool, models.Pool.id == models.Volume.pool_id)
        .where(models.Volume.id.in_(ids))
        .order_by(models.Volume.name, models.Volume.id)
    )
    return [
        {
            **_summary(
                row,
                row.pool_name,
                used.get(row.id, 0),
                mapped.get(row.id, []),
                flaws.get(row.id, []),
                troubles.get(row.id, ""),
                moving.get(row.id, ()),
            ),
            "name": row.name,  # whole, as the pages' order has it
        }
        for row in tx.session.execute(query)
    ]


def _flaws_of(
    ctx: context.Context, tx: unit_of_work.Tx, ids: sqlalchemy.Select[Any] | None
) -> dict[str, list[health.Flaw]]:
    """Flawed replicas of the volumes of query ``ids``, or of all, by volume."""
    places = reach.places(ctx, tx)
    silent = [p.device_id for p in places.values() if p.reach is not health.Reach.UP]
    replica = models.Replica
    query = select(replica.volume_id, replica.column, replica.state, replica.device_id).where(
        or_(replica.state != _IN_SYNC.value, replica.device_id.in_(silent))
    )
    if ids is not None:
        query = query.where(replica.volume_id.in_(ids))
    found: dict[str, list[tuple[int, str, str]]] = {}
    for volume_id, column, state, device_id in tx.session.execute(query):
        found.setdefault(volume_id, []).append((column, state, device_id))
    return {ident: _flaws(ctx, ident, rows, places) for ident, rows in found.items()}


def _moving(tx: unit_of_work.Tx) -> dict[str, set[int]]:
    """Columns with a third replica, by volume."""
    found: dict[str, set[int]] = {}
    for volume_id, column in tx.session.execute(select(models.Move.volume_id, models.Move.column)):
        found.setdefault(volume_id, set()).add(column)
    return found


def _with_stuck(reason: str, stuck: str) -> str:
    return "; ".join(part for part in (reason, stuck) if part)


def _flaws(
    ctx: context.Context,
    volume_id: str,
    replicas: Iterable[tuple[int, str, str]],
    places: Mapping[str, reach.Place],
) -> list[health.Flaw]:
    return [
        health.Flaw(
            column,
            model.ReplicaState(state),
            places[device].reach,
            _where(places[device]),
            _wait(ctx, volume_id, places[device]) if state == _STALE.value else "",
        )
        for column, state, device in replicas
        if state != _IN_SYNC.value or places[device].reach is not health.Reach.UP
    ]


def _where(place: reach.Place) -> str:
    return f"{place.sds_name} (in maintenance)" if place.resting else place.sds_name


def _wait(ctx: context.Context, volume_id: str, place: reach.Place) -> str:
    """What a stale replica whose SDS answers waits for, where the MDM knows."""
    left_s = ctx.waits.wait_s(volume_id, place.device_id, ctx.clock.monotonic())
    if place.reach is not health.Reach.UP:
        return ""
    if (volume_id, place.device_id) in ctx.waits.without_room:
        return f"{NO_ROOM} {place.path}"
    if left_s <= 0:
        return ""
    return f"{TRIED_AGAIN} {math.ceil(left_s)} s"


def _summary(
    row: Any,
    pool: str,
    used: int,
    mapped: list[shapes.Mapping],
    flaws: list[health.Flaw],
    trouble: str,
    moving: Collection[int] = (),
) -> shapes.VolumeSummary:
    word, reason = _health(flaws, row.turn_open, trouble, moving)
    reason = _with_stuck(reason, row.stuck)
    if row.state == "allocating" and word is health.Health.HEALTHY:
        reason = "its space is being reserved"
    return {
        "id": row.id,
        "name": shown_name(row.name),
        "size_bytes": row.size,
        "thin": row.thin,
        "shareable": row.shareable,
        "pool": pool,
        "pool_id": row.pool_id,
        "state": row.state,
        "health": word.value,
        "reason": reason,
        "columns": row.ncols,
        "generation": row.generation,
        "map_version": row.map_version,
        "turn_open": row.turn_open,
        "used_bytes": int(used),
        "mappings": mapped,
        "created_at": row.created_at,
        "wait_limit_s": row.wait_limit_s,
    }


def _health(
    flaws: Iterable[health.Flaw], turn_open: bool, trouble: str, moving: Collection[int]
) -> tuple[health.Health, str]:
    if trouble:
        return proof.word(trouble), trouble
    return health.volume(flaws, turn_open, moving)


def _replica(column: int, slot: int, state: str, place: reach.Place, error: str) -> shapes.Replica:
    return {
        "column": column,
        "slot": slot,
        "device_id": place.device_id,
        "device_path": place.path,
        "sds": place.sds_name,
        "state": state,
        "error": error,
    }


def _add_replicas(ctx: context.Context, tx: unit_of_work.Tx, items: list[dict[str, Any]]) -> None:
    places = reach.places(ctx, tx)
    by_volume: dict[str, list[shapes.Replica]] = {item["id"]: [] for item in items}
    r, leg = models.Replica, models.VolumeLeg
    query = (
        select(r.volume_id, r.column, r.slot, r.state, r.device_id, leg.error)
        .outerjoin(leg, (leg.volume_id == r.volume_id) & (leg.device_id == r.device_id))
        .where(r.volume_id.in_(list(by_volume)))
        .order_by(r.volume_id, r.column, r.slot)
    )
    for volume_id, column, slot, state, device_id, error in tx.session.execute(query):
        replica = _replica(column, slot, state, places[device_id], error or "")
        by_volume[volume_id].append(replica)
    for item in items:
        item["replicas"] = by_volume[item["id"]]

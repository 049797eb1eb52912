"""What agents shall do, worked out from the database each time they ask.

``touch`` makes a change known: the volume's legs get a new revision, and their agents a poke. A
poke is a hint; an agent that missed it asks within its poll interval.
"""

from collections.abc import Iterable
from typing import Any, TypeVar, cast

import sqlalchemy
from sqlalchemy import orm, select

from appliance.common import log
from appliance.domain import model
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import addresses, charts, scrub_orders
from appliance.protocol import messages

#: A replica's row, or as much of it as was asked for.
R = TypeVar("R", models.Replica, Any)

_WHOLE = (
    orm.selectinload(models.Volume.replicas),
    orm.selectinload(models.Volume.legs),
    orm.selectinload(models.Volume.mappings),
    orm.selectinload(models.Volume.incarnations),
    orm.selectinload(models.Volume.moves),
    orm.joinedload(models.Volume.scrub),
)

_CLUSTER = cast(sqlalchemy.Table, models.Cluster.__table__)
_LEGS = cast(sqlalchemy.Table, models.VolumeLeg.__table__)
_DEVICES = cast(sqlalchemy.Table, models.Device.__table__)
_OF: sqlalchemy.BindParameter[str] = sqlalchemy.bindparam("of")

_NEXT_REVISION = sqlalchemy.update(_CLUSTER).values(revision=_CLUSTER.c.revision + 1)
_REVISION = select(_CLUSTER.c.revision)
_LEGS_TOUCHED = sqlalchemy.update(_LEGS).where(_LEGS.c.volume_id == _OF)
_HOLDERS = (
    select(_DEVICES.c.sds_id)
    .join(_LEGS, _LEGS.c.device_id == _DEVICES.c.id)
    .where(_LEGS.c.volume_id == _OF)
    .distinct()
)


def touch(tx: unit_of_work.Tx, volume_id: str, hurry: bool = True) -> None:
    """The orders of all legs of the volume changed: their SDSs fetch them at once, or, without
    ``hurry``, when they ask the next time, many changes together."""
    tx.session.flush()
    # Below the ORM: hundreds of volumes turn at once when a server goes.
    connection = tx.session.connection()
    if tx.revision is None:  # one for all that is committed together
        connection.execute(_NEXT_REVISION)
        tx.revision = int(connection.execute(_REVISION).scalar_one())
    connection.execute(
        _LEGS_TOUCHED,
        {"of": volume_id, "revision": tx.revision, "request_id": log.request_id()},
    )
    if hurry:
        for sds_id in connection.execute(_HOLDERS, {"of": volume_id}).scalars():
            tx.poke("sds", sds_id)


def poke_clients(tx: unit_of_work.Tx, volume: models.Volume) -> None:
    """Clients that map the volume ask for their orders at once."""
    for mapping in volume.mappings:
        tx.poke("sdc", mapping.sdc_id)


def load_volumes(tx: unit_of_work.Tx, ids: Iterable[str]) -> list[models.Volume]:
    """Volumes with everything orders are made of, in a fixed number of queries."""
    return list(
        tx.session.scalars(
            select(models.Volume).where(models.Volume.id.in_(list(ids))).options(*_WHOLE)
        )
    )


# --- SDS ----------------------------------------------------------------------------------


def for_sds(tx: unit_of_work.Tx, sds_id: str, known_revision: int) -> messages.SdsOrders:
    """Orders of every leg on the SDS that changed since ``known_revision``, and all its devices.

    An agent that knows a later revision than there is talks to a restored database: it gets all.
    """
    cluster = tx.session.get_one(models.Cluster, 1)
    since = known_revision if known_revision <= cluster.revision else 0
    devices = list(tx.session.scalars(select(models.Device).where(models.Device.sds_id == sds_id)))
    wanted = [device for device in devices if device.state != "refused"]
    legs: list[messages.LegOrder] = []
    if since < cluster.revision and devices:
        rows = tx.session.execute(
            select(models.VolumeLeg.volume_id, models.VolumeLeg.device_id).where(
                models.VolumeLeg.device_id.in_([device.id for device in devices]),
                models.VolumeLeg.revision > since,
            )
        ).all()
        volumes = {v.id: v for v in load_volumes(tx, {row[0] for row in rows})}
        places = _places(tx, volumes.values())
        legs = [
            leg_order(volumes[vol], device, places)
            for vol, device in rows
            if vol in volumes and not volumes[vol].unproved
        ]
    return messages.SdsOrders(
        cluster_id=cluster.id,
        term=cluster.term,
        revision=cluster.revision,
        devices=tuple(
            messages.DeviceOrder(device.id, device.path, device.state != "removing", place)
            for device, place in charts.places(tx, sds_id, wanted)
        ),
        legs=tuple(legs),
    )


def leg_order(
    volume: models.Volume, device_id: str, places: dict[str, models.Sds | models.Sdc]
) -> messages.LegOrder:
    """What one (volume, device) shall be now. ``places``: SDSs by device id, SDCs by their id."""
    leg = next(row for row in volume.legs if row.device_id == device_id)
    own = [row for row in volume.replicas if row.device_id == device_id]
    return messages.LegOrder(
        volume_id=volume.id,
        device_id=device_id,
        name=volume.name,
        size=volume.size,
        unit=volume.unit,
        ncols=volume.ncols,
        thin=volume.thin,
        columns=tuple(messages.OwnColumn(row.column, model.ReplicaState(row.state)) for row in own),
        generation=volume.generation,
        serve=serves(volume),
        incarnations=tuple(sorted(incarnation.id for incarnation in volume.incarnations)),
        retire=retirable(volume),
        flush=any(incarnation.state == "doubt" for incarnation in volume.incarnations),
        copy=_copy_order(volume, leg, own, places),
        scrub=scrub_orders.order(volume, leg, places),
        delete=leg.deleting,
        request_id=leg.request_id,
        chart=charts.chart(volume, places),
    )


def serves(volume: models.Volume) -> bool:
    """Whether data servers are needed: for a client, for a copy or a scrub, or for a turn to come
    to that."""
    return (
        volume.turn_open
        or scrub_orders.wanted(volume)
        or any(incarnation.state == "live" for incarnation in volume.incarnations)
        or any(replica.state == "syncing" for replica in volume.replicas)
    )


def retirable(volume: models.Volume) -> tuple[str, ...]:
    """Ended incarnations whose intent files may go once every replica was fdatasynced (R3)."""
    if volume.turn_open or any(replica.state != "in_sync" for replica in volume.replicas):
        return ()
    return tuple(sorted(i.id for i in volume.incarnations if i.state in ("clean", "retiring")))


def _copy_order(
    volume: models.Volume,
    leg: models.VolumeLeg,
    own: list[models.Replica],
    places: dict[str, models.Sds | models.Sdc],
) -> messages.CopyOrder | None:
    """Pull the columns that are syncing here, each from an in-sync replica (R8)."""
    if volume.turn_open or not leg.serving or leg.pace < 0:
        return None
    columns = []
    for row in own:
        if row.state != "syncing":
            continue
        source = source_of(volume.replicas, row.column)
        source_leg = next(other for other in volume.legs if other.device_id == source.device_id)
        columns.append(
            messages.ColumnCopy(
                column=row.column,
                full=row.full_copy,
                source=addresses.leg(source_leg, places),
                source_intents=dict(source_leg.intents),
            )
        )
    if not columns:
        return None
    live = [i for i in volume.incarnations if i.state == "live"]
    clients = addresses.lock_clients(live, places)
    return messages.CopyOrder(volume.generation, tuple(columns), clients, leg.pace)


def source_of(replicas: Iterable[R], column: int) -> R:
    """The replica that copies of the column are made from: another one for the next column, so
    that many sources share the work. ``replicas`` are in order of their slots."""
    found = [r for r in replicas if r.column == column and r.state == "in_sync"]
    return found[column % len(found)]


# --- SDC ----------------------------------------------------------------------------------


def for_sdc(tx: unit_of_work.Tx, sdc_id: str) -> messages.SdcOrders:
    """All mappings of the client, each with the map if one is in force."""
    cluster = tx.session.get_one(models.Cluster, 1)
    mappings = list(
        tx.session.scalars(select(models.Mapping).where(models.Mapping.sdc_id == sdc_id))
    )
    volumes = {v.id: v for v in load_volumes(tx, {m.volume_id for m in mappings})}
    places = _places(tx, volumes.values())
    return messages.SdcOrders(
        cluster_id=cluster.id,
        term=cluster.term,
        mappings=tuple(_mapping_order(m, volumes[m.volume_id], places) for m in mappings),
    )


def _mapping_order(
    mapping: models.Mapping,
    volume: models.Volume,
    places: dict[str, models.Sds | models.Sdc],
) -> messages.MappingOrder:
    live = [
        incarnation
        for incarnation in volume.incarnations
        if incarnation.mapping_id == mapping.id and incarnation.state == "live"
    ]
    incarnation = live[0] if live else None
    volume_map = None
    if incarnation is not None and not volume.turn_open and granted(volume, incarnation.id):
        volume_map = client_map(volume, incarnation.id, places)
    return messages.MappingOrder(
        mapping_id=mapping.id,
        volume_id=volume.id,
        volume_name=volume.name,
        size=served_size(volume),
        read_only=mapping.read_only,
        backend=mapping.backend,
        wanted=mapping.wanted,
        force=mapping.force,
        open_generation=volume.generation if volume.turn_open else 0,
        incarnation=incarnation.id if incarnation else "",
        lock_token=incarnation.lock_token if incarnation else "",
        map=volume_map,
        request_id=_newest_request(volume) or mapping.request_id,
        probes=_probes(volume, places) if volume_map is not None else (),
        cut_off=mapping.cut_off,
    )


def _probes(
    volume: models.Volume, places: dict[str, models.Sds | models.Sdc]
) -> tuple[messages.Probe, ...]:
    """Where the client shall try the replicas that left."""
    written = {leg.device_id for leg in written_legs(volume)}
    found = []
    for leg in volume.legs:
        if leg.device_id in written or leg.deleting:
            continue
        sds = places[leg.device_id]
        served = leg.serving and leg.generation == volume.generation
        found.append(
            messages.Probe(
                device_id=leg.device_id,
                generation=volume.generation,
                hosts=tuple(sds.hosts),
                port=leg.port if served else sds.control_port,
                socket=leg.socket if served else "",
                data=served,
            )
        )
    return tuple(found)


def _newest_request(volume: models.Volume) -> str:
    """The request because of which the volume's orders changed last."""
    newest = max(volume.legs, key=lambda leg: leg.revision, default=None)
    return newest.request_id if newest is not None else ""


def granted(volume: models.Volume, incarnation_id: str) -> bool:
    """Whether every written leg made the incarnation's intent file in this generation (R3)."""
    return all(
        leg.generation == volume.generation and incarnation_id in leg.intents
        for leg in written_legs(volume)
    )


def emptied(volume: models.Volume) -> set[str]:
    """Devices whose files were lost and made anew while they were thought to be in sync."""
    return {r.device_id for r in volume.replicas if r.full_copy and r.state == "in_sync"}


def written_legs(volume: models.Volume) -> list[models.VolumeLeg]:
    """Legs that hold a replica which clients write."""
    devices = {replica.device_id for replica in volume.replicas if replica.state != "stale"}
    return [leg for leg in volume.legs if leg.device_id in devices]


def served_size(volume: models.Volume) -> int:
    """What a client may address: a volume that grew keeps its old size until every data server
    is one that was started with the new one, which takes a turn. Bytes."""
    sizes = [leg.size for leg in written_legs(volume) if leg.size]
    return min([volume.size, *sizes])


def client_map(
    volume: models.Volume, incarnation_id: str, places: dict[str, models.Sds | models.Sdc]
) -> model.VolumeMap:
    """The map an incarnation works by; only while no turn is open."""
    by_column: list[list[model.Replica]] = [[] for _ in range(volume.ncols)]
    for row in volume.replicas:
        by_column[row.column].append(model.Replica(row.device_id, model.ReplicaState(row.state)))
    return model.VolumeMap(
        volume_id=volume.id,
        name=volume.name,
        size=served_size(volume),
        thin=volume.thin,
        generation=volume.generation,
        version=volume.map_version,
        columns=tuple(tuple(column) for column in by_column),
        legs=tuple(
            addresses.leg(leg, places, leg.intents[incarnation_id]) for leg in written_legs(volume)
        ),
        unit=volume.unit,
        shared=sum(1 for i in volume.incarnations if i.state == "live") > 1,
        lost_generation=volume.lost_generation,
        wait_limit_s=volume.wait_limit_s,
    )


def _places(
    tx: unit_of_work.Tx, volumes: Iterable[models.Volume]
) -> dict[str, models.Sds | models.Sdc]:
    """SDSs by the ids of their devices, SDCs by their own."""
    volumes = list(volumes)
    devices = {leg.device_id for volume in volumes for leg in volume.legs}
    clients = {mapping.sdc_id for volume in volumes for mapping in volume.mappings}
    places: dict[str, models.Sds | models.Sdc] = {}
    for device_id, sds in tx.session.execute(
        select(models.Device.id, models.Sds)
        .join(models.Sds, models.Sds.id == models.Device.sds_id)
        .where(models.Device.id.in_(devices))
    ):
        places[device_id] = sds
    for sdc in tx.session.scalars(select(models.Sdc).where(models.Sdc.id.in_(clients))):
        places[sdc.id] = sdc
    return places

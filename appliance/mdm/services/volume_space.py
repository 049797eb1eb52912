"""Where a volume's bytes go: choosing a pool's devices for a new one, reserving more for a thick
one that grows. Called by ``volumes`` within its transactions."""

from dataclasses import dataclass

from sqlalchemy import func, insert, select

from appliance.common import errors, units
from appliance.domain import health, layout, model, placement
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import capacity, context, reach, refs

#: Columns of a new volume, unless told otherwise: as many as devices, up to this.
DEFAULT_COLUMNS = 8


def pool(tx: unit_of_work.Tx, ref: str | None) -> models.Pool:
    """The pool named, or the only one. Raises errors.NotFound or Invalid."""
    if ref is not None:
        return refs.find(tx, models.Pool, ref)
    found = list(tx.session.scalars(select(models.Pool).order_by(models.Pool.name).limit(5)))
    if len(found) != 1:
        names = ", ".join(row.name for row in found)
        why = f"say which of the pools: {names}" if found else "there is no pool yet; create one"
        raise errors.Invalid(what="pool", why=why)
    return found[0]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A device that is well, as far as its SDS last said. ``fault_set``: see placement.Target."""

    id: str
    path: str
    sds_id: str
    sds_name: str
    fault_set: str
    capacity_bytes: int
    free_bytes: int
    limit_bytes: int
    reach: health.Reach


def candidates(ctx: context.Context, tx: unit_of_work.Tx, of: models.Pool) -> list[Candidate]:
    """The pool's devices that are well and not to be emptied, in one query."""
    device, sds = models.Device, models.Sds
    query = (
        select(
            device.id,
            device.path,
            sds.id,
            sds.name,
            func.coalesce(sds.fault_set_id, sds.id),
            device.capacity_bytes,
            device.free_bytes,
            device.limit_bytes,
        )
        .join(sds, sds.id == device.sds_id)
        .where(device.pool_id == of.id, device.state == "ok", ~device.draining)
        .where(sds.state == "normal")
        .order_by(device.id)
    )
    rows = tx.session.execute(query).all()
    agents = {sds_id: reach.agent(ctx, sds_id)[0] for sds_id in {row[2] for row in rows}}
    return [Candidate(*row, reach=agents[row[2]]) for row in rows]


def place(
    tx: unit_of_work.Tx, of: models.Pool, row: models.Volume, devices: list[Candidate]
) -> tuple[tuple[str, ...], ...]:
    """Device ids of each column's replicas. Raises errors.NoCapacity with the numbers."""
    usable = [d for d in devices if d.reach is not health.Reach.DOWN]
    if len({d.fault_set for d in usable}) < model.REPLICAS:
        silent = sorted({d.sds_name for d in devices if d not in usable})
        raise errors.NoCapacity(why=_too_few(tx, of, usable, silent))
    space = {} if row.thin else capacity.device_space(tx, usable)
    targets = [
        placement.Target(
            device.id,
            device.fault_set,
            capacity.usable_bytes(device),
            None if row.thin else space[device.id].room(of.spare_percent),
        )
        for device in usable
    ]
    largest = layout.own_bytes(frozenset({0}), row.ncols, row.size, row.unit)
    return placement.place(row.id, row.ncols, largest, targets)


def fill(tx: unit_of_work.Tx, row: models.Volume, placed: tuple[tuple[str, ...], ...]) -> None:
    """Insert replicas and legs as placed. Fresh files are all zero, hence in sync."""
    columns: dict[str, set[int]] = {}
    replicas = []
    for column, chosen in enumerate(placed):
        for slot, device_id in enumerate(chosen):
            columns.setdefault(device_id, set()).add(column)
            place = {"volume_id": row.id, "column": column, "slot": slot, "device_id": device_id}
            replicas.append({**place, "state": model.ReplicaState.IN_SYNC.value})
    legs = []
    for device_id, own in columns.items():
        here = layout.own_bytes(frozenset(own), row.ncols, row.size, row.unit)
        reserved = 0 if row.thin else here
        legs.append({"volume_id": row.id, "device_id": device_id, "reserved_bytes": reserved})
    # As plain rows: as objects they take several times as long, and there may be 128 of them.
    connection = tx.session.connection()
    connection.execute(insert(models.Replica), replicas)
    connection.execute(insert(models.VolumeLeg), legs)


def reserve_more(tx: unit_of_work.Tx, of: models.Pool, row: models.Volume, size: int) -> None:
    """Room for a thick volume that grows to ``size``. Raises errors.NoCapacity."""
    legs = {leg.device_id: leg for leg in row.legs}
    devices = list(tx.session.scalars(select(models.Device).where(models.Device.id.in_(legs))))
    space = capacity.device_space(tx, devices)
    for device in devices:
        leg = legs[device.id]
        own = frozenset(r.column for r in row.replicas if r.device_id == device.id)
        wanted = layout.own_bytes(own, row.ncols, size, row.unit)
        room = space[device.id].room(of.spare_percent)
        if wanted - leg.reserved_bytes > room:
            raise errors.NoCapacity(
                why=f"{units.format_size(wanted - leg.reserved_bytes)} more must be reserved on "
                f"{device.path} of SDS '{device.sds.name}', which has "
                f"{units.format_size(room)} free"
            )
        leg.reserved_bytes, leg.allocated = wanted, False


def _too_few(
    tx: unit_of_work.Tx, of: models.Pool, usable: list[Candidate], silent: list[str]
) -> str:
    query = select(func.count()).select_from(models.Device).where(models.Device.pool_id == of.id)
    count = len({device.fault_set for device in usable})
    why = (
        f"pool '{of.name}' has {len(usable)} usable devices in {count} fault sets "
        f"({tx.session.scalar(query)} devices in all), but the {model.REPLICAS} copies of a volume "
        f"must lie in {model.REPLICAS} fault sets"
    )
    return f"{why}; not answering: {', '.join(silent)}" if silent else f"{why}; add devices"

"""How much space pools and devices have, and what is promised of it.

Thin volumes may be promised more than there is, up to a stated factor. Thick ones are reserved:
each device keeps room for its own columns of them, and what does not fit is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import sqlalchemy
from sqlalchemy import func, select

from appliance.common import errors, units
from appliance.domain import model
from appliance.mdm import cluster_shapes
from appliance.mdm.db import models, unit_of_work

#: A pool's volumes may be promised this many times its capacity, copies counted.
OVERCOMMIT = 10


class _Sized(Protocol):
    """A device, as far as its size goes."""

    @property
    def id(self) -> str: ...
    @property
    def capacity_bytes(self) -> int: ...
    @property
    def free_bytes(self) -> int: ...
    @property
    def limit_bytes(self) -> int: ...


@dataclass(frozen=True, slots=True)
class DeviceSpace:
    """Bytes of one device. ``pending``: reserved, but not yet allocated on its file system."""

    capacity: int
    free: int
    reserved: int
    pending: int

    def room(self, spare_percent: int = 0) -> int:
        """How much more may be reserved."""
        usable = self.capacity * (100 - spare_percent) // 100
        return max(0, min(usable - self.reserved, self.free - self.pending))


def device_space(tx: unit_of_work.Tx, devices: Sequence[_Sized]) -> dict[str, DeviceSpace]:
    """Space of each of ``devices``, by id."""
    leg = models.VolumeLeg
    pending = func.sum(sqlalchemy.case((leg.allocated, 0), else_=leg.reserved_bytes))
    query = (
        select(leg.device_id, func.sum(leg.reserved_bytes), pending)
        .where(leg.reserved_bytes > sqlalchemy.literal_column("0"))
        .group_by(leg.device_id)
    )
    sums = {ident: (int(total), int(rest)) for ident, total, rest in tx.session.execute(query)}
    found = {}
    for device in devices:
        capacity = usable_bytes(device)
        reserved, rest = sums.get(device.id, (0, 0))
        found[device.id] = DeviceSpace(capacity, min(device.free_bytes, capacity), reserved, rest)
    return found


def usable_bytes(device: _Sized) -> int:
    """The device's capacity, or its limit if that is less."""
    if device.limit_bytes:
        return min(device.capacity_bytes, device.limit_bytes)
    return device.capacity_bytes


def pools(tx: unit_of_work.Tx) -> dict[str, cluster_shapes.Capacity]:
    """Capacity of every pool, by id."""
    found: dict[str, cluster_shapes.Capacity] = {
        ident: {
            "capacity_bytes": 0,
            "used_bytes": 0,
            "provisioned_bytes": 0,
            "reserved_bytes": 0,
            "free_bytes": 0,
        }
        for ident in tx.session.scalars(select(models.Pool.id))
    }
    devices = list(tx.session.scalars(select(models.Device).where(models.Device.state == "ok")))
    space = device_space(tx, devices)
    for device in devices:
        pool, own = found[device.pool_id], space[device.id]
        pool["capacity_bytes"] += own.capacity
        pool["free_bytes"] += max(0, own.free - own.pending)
    for pool_id, used, reserved in tx.session.execute(_sums_of_legs()):
        found[pool_id]["used_bytes"] = int(used)
        found[pool_id]["reserved_bytes"] = int(reserved)
    for pool_id, size in tx.session.execute(_thin_sizes().group_by(models.Volume.pool_id)):
        found[pool_id]["provisioned_bytes"] = int(size) * model.REPLICAS
    return found


def total(capacities: list[cluster_shapes.Capacity]) -> cluster_shapes.Capacity:
    """Sum over pools."""
    return {
        "capacity_bytes": sum(c["capacity_bytes"] for c in capacities),
        "used_bytes": sum(c["used_bytes"] for c in capacities),
        "provisioned_bytes": sum(c["provisioned_bytes"] for c in capacities),
        "reserved_bytes": sum(c["reserved_bytes"] for c in capacities),
        "free_bytes": sum(c["free_bytes"] for c in capacities),
    }


def check_promise(
    tx: unit_of_work.Tx, pool: models.Pool, devices: Sequence[_Sized], more: int
) -> None:
    """Raise errors.NoCapacity if ``more`` bytes of thin volume would promise too much."""
    capacity = sum(usable_bytes(device) for device in devices)
    size = tx.session.execute(_thin_sizes().where(models.Volume.pool_id == pool.id)).first()
    promised = int(size[1] or 0) * model.REPLICAS if size else 0
    limit = capacity * OVERCOMMIT
    wanted = more * model.REPLICAS
    if promised + wanted > limit:
        raise errors.NoCapacity(
            why=f"pool '{pool.name}' has {units.format_size(capacity)} and may promise "
            f"{OVERCOMMIT} times as much, {units.format_size(limit)}; "
            f"{units.format_size(promised)} are promised already and this needs "
            f"{units.format_size(wanted)} ({model.REPLICAS} copies); add devices to the pool"
        )


def _thin_sizes() -> sqlalchemy.Select[str, int]:
    return select(models.Volume.pool_id, func.sum(models.Volume.size)).where(
        models.Volume.thin, models.Volume.state != "deleting"
    )


def _sums_of_legs() -> sqlalchemy.Select[str, int, int]:
    leg = models.VolumeLeg
    return (
        select(models.Device.pool_id, func.sum(leg.used_bytes), func.sum(leg.reserved_bytes))
        .join(models.Device, models.Device.id == leg.device_id)
        .group_by(models.Device.pool_id)
    )

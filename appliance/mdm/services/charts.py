"""What devices keep of the cluster, so that it can be put together again without this database.

Part of every order (``orders``); read by ``appliance.disk`` when the worst has happened.
"""

import json
from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import select

from appliance.domain import model
from appliance.mdm.db import models, unit_of_work
from appliance.protocol import messages


def chart(volume: models.Volume, places: Mapping[str, models.Sds | models.Sdc]) -> messages.Chart:
    """The whole map of ``volume``. ``places``: SDSs by the ids of their devices."""
    columns: list[list[model.Replica]] = [[] for _ in range(volume.ncols)]
    for row in volume.replicas:
        columns[row.column].append(model.Replica(row.device_id, model.ReplicaState(row.state)))
    return messages.Chart(
        map_version=volume.map_version,
        settled=not volume.turn_open,
        pool_id=volume.pool_id,
        shareable=volume.shareable,
        wait_limit_s=volume.wait_limit_s,
        columns=tuple(tuple(column) for column in columns),
        holders=tuple(
            messages.Holder(device_id, places[device_id].id, places[device_id].name)
            for device_id in sorted({row.device_id for row in volume.replicas} & places.keys())
        ),
    )


def places(
    tx: unit_of_work.Tx, sds_id: str, devices: Sequence[models.Device]
) -> Iterator[tuple[models.Device, messages.Place]]:
    """Each of an SDS's ``devices`` with where it belongs."""
    if not devices:
        return
    sds = tx.session.get_one(models.Sds, sds_id)
    domain = tx.session.get_one(models.Domain, sds.domain_id)
    fault_set = tx.session.get(models.FaultSet, sds.fault_set_id) if sds.fault_set_id else None
    wanted = {device.pool_id for device in devices}
    pools = {
        p.id: p for p in tx.session.scalars(select(models.Pool).where(models.Pool.id.in_(wanted)))
    }
    for device in devices:
        pool = pools[device.pool_id]
        yield (
            device,
            messages.Place(
                path=device.path,
                sds=sds.name,
                domain_id=domain.id,
                domain=domain.name,
                pool_id=pool.id,
                pool=pool.name,
                media=pool.media,
                fault_set_id=fault_set.id if fault_set is not None else "",
                fault_set=fault_set.name if fault_set is not None else "",
                spare_percent=pool.spare_percent,
                warn_percent=pool.warn_percent,
                critical_percent=pool.critical_percent,
                policy=json.dumps(pool.policy, sort_keys=True),
                limit_bytes=device.limit_bytes,
            ),
        )

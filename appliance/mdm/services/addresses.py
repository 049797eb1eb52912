"""How others reach a data server, or a client that gives locks: parts of many orders."""

from collections.abc import Iterable, Mapping

from appliance.domain import model
from appliance.mdm.db import models
from appliance.protocol import messages

#: SDSs by the ids of their devices, SDCs by their own.
Places = Mapping[str, models.Sds | models.Sdc]


def leg(row: models.VolumeLeg, places: Places, intent_export: str = "") -> model.Leg:
    """The data server of one (volume, device)."""
    sds = places[row.device_id]
    return model.Leg(
        device_id=row.device_id,
        sds_id=sds.id,
        sds_name=sds.name,
        hosts=tuple(sds.hosts),
        port=row.port,
        socket=row.socket,
        data_export=row.data_export,
        intent_export=intent_export,
    )


def lock_clients(
    incarnations: Iterable[models.Incarnation], places: Places
) -> tuple[messages.LockClient, ...]:
    """The clients of these incarnations, with what they want to see before they give a lock."""
    found = []
    for incarnation in incarnations:
        client = places.get(incarnation.sdc_id)
        if client is not None:
            found.append(
                messages.LockClient(
                    incarnation.id, tuple(client.hosts), client.control_port, incarnation.lock_token
                )
            )
    return tuple(found)

"""The order to scrub a volume, worked out from the database like every other (``orders``)."""

from appliance.domain import model, scrubbing
from appliance.mdm.db import models
from appliance.mdm.services import addresses
from appliance.protocol import messages


def wanted(volume: models.Volume) -> bool:
    """Whether a pass over the volume is to go on."""
    return volume.scrub is not None and volume.scrub.state == "running" and volume.state == "ready"


def order(
    volume: models.Volume, leg: models.VolumeLeg, places: addresses.Places
) -> messages.ScrubOrder | None:
    """One SDS scrubs the whole volume, for a touched mark stands for a region of all columns.

    Only while every copy is in sync and served: else there is nothing to compare, and no mark may
    be taken away.
    """
    row = volume.scrub
    if row is None or not wanted(volume) or volume.turn_open:
        return None
    replicas = volume.replicas
    if leg.device_id != replicas[0].device_id or any(r.state != "in_sync" for r in replicas):
        return None
    written = {replica.device_id for replica in replicas}
    legs = [one for one in volume.legs if one.device_id in written]
    if not all(one.serving and one.generation == volume.generation for one in legs):
        return None
    pairs = tuple(
        tuple(r.device_id for r in replicas if r.column == column) for column in range(volume.ncols)
    )
    if any(len(pair) != model.REPLICAS for pair in pairs):
        return None
    read_only = {mapping.id for mapping in volume.mappings if mapping.read_only}
    writers = [
        i for i in volume.incarnations if i.state == "live" and i.mapping_id not in read_only
    ]
    policy = scrubbing.policy(volume.pool.policy)
    return messages.ScrubOrder(
        generation=volume.generation,
        scrub_id=row.pass_id,
        legs=tuple(
            messages.ScrubLeg(addresses.leg(one, places), one.sums_export, dict(one.intents))
            for one in sorted(legs, key=lambda one: one.device_id)
        ),
        columns=pairs,
        clients=addresses.lock_clients(writers, places),
        start=row.position,
        counts=messages.ScrubCounts(row.compared_bytes, row.skipped, row.mismatches, row.repaired),
        bandwidth=policy.bandwidth(len(legs)),
        repair=policy.repair,
    )

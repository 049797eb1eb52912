"""Which volumes are looked after though nobody reported anything of them."""

from sqlalchemy import select

from appliance.mdm.db import models, unit_of_work


def interesting(tx: unit_of_work.Tx) -> set[str]:
    """Volumes that may need something though nobody reported anything: open turns, replicas not
    in sync, or on a device that does not work, clients that ended or are to."""
    open_turns = select(models.Volume.id).where(models.Volume.turn_open)
    unequal = select(models.Replica.volume_id).where(models.Replica.state != "in_sync")
    ended = select(models.Incarnation.volume_id).where(models.Incarnation.state != "live")
    unwanted = select(models.Mapping.volume_id).where(models.Mapping.wanted.is_(False))
    broken = (
        select(models.Replica.volume_id)
        .join(models.Device, models.Device.id == models.Replica.device_id)
        .where(models.Device.state != "ok")
    )
    unproved = select(models.Volume.id).where(models.Volume.unproved)
    scrubbed = select(models.Scrub.volume_id).where(models.Scrub.state == "running")
    found = open_turns.union(unequal, ended, unwanted, broken, unproved, scrubbed)
    return set(tx.session.scalars(found))


def in_use(tx: unit_of_work.Tx) -> set[str]:
    """Volumes that any client has, or had a moment ago."""
    return set(tx.session.scalars(select(models.Incarnation.volume_id)))

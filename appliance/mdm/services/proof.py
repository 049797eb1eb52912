"""Whether this database is new enough to act on a volume (R10), and what people are told if not.

An SDS that reports a higher generation proves that the database is an old copy. One that was put
back from a backup must first hear from every SDS whose copies count before it may begin a turn:
until then it could be the old copy that nobody has contradicted yet.
"""

import logging
from collections.abc import Iterable
from typing import Any

import sqlalchemy
from sqlalchemy import select

from appliance.domain import health
from appliance.mdm.db import models, unit_of_work

logger = logging.getLogger(__name__)

OLD = (
    "this MDM's database is older than what its SDSs hold, so the volume is left as it is; stop "
    "the MDM and restore the newest backup (basalt mdm restore) or make the database again from "
    "the devices (basalt recover mdm)"
)
UNPROVED = (
    "the MDM's database was put back, and it waits to hear from every SDS with a copy in sync; if "
    "one is gone for good, make the database again from the other devices (basalt recover mdm)"
)


def outdated(volume: models.Volume) -> bool:
    """Whether an SDS reported a generation that this database does not know."""
    return any(leg.generation > volume.generation for leg in volume.legs)


def contradicted(volume: models.Volume, leg: models.VolumeLeg, generation: int) -> None:
    """An SDS reported a ``generation`` that this database does not know (R10)."""
    leg.generation = generation
    leg.error = (
        f"the SDS has generation {generation}, this MDM's database knows {volume.generation}: {OLD}"
    )
    logger.error(
        "database_is_old volume=%s device=%s sds_generation=%d generation=%d",
        volume.name,
        leg.device_id,
        generation,
        volume.generation,
    )


def trouble(volume: models.Volume) -> str:
    """Why nothing is done with the volume; empty if its rows may be believed."""
    if outdated(volume):
        return OLD
    return UNPROVED if volume.unproved else ""


def troubles(
    tx: unit_of_work.Tx, ids: sqlalchemy.Select[Any] | Iterable[str] | None = None
) -> dict[str, str]:
    """``trouble`` of those of the volumes (or of all) that have any."""
    leg, volume = models.VolumeLeg, models.Volume
    behind = (
        select(leg.volume_id)
        .join(volume, volume.id == leg.volume_id)
        .where(leg.generation > volume.generation, volume.state != "deleting")
        .distinct()
    )
    unproved = select(volume.id).where(volume.unproved, volume.state != "deleting")
    if ids is not None:
        behind, unproved = behind.where(volume.id.in_(ids)), unproved.where(volume.id.in_(ids))
    found = dict.fromkeys(tx.session.scalars(unproved), UNPROVED)
    return found | dict.fromkeys(tx.session.scalars(behind), OLD)


def word(why: str) -> health.Health:
    """A volume in ``trouble`` in the words of health."""
    return health.Health.UNHEALTHY if why == OLD else health.Health.UNKNOWN


class Heard:
    """Which devices reported their part of a volume since this MDM started. In memory only."""

    def __init__(self) -> None:
        self._heard: set[tuple[str, str]] = set()

    def note(self, volume_id: str, device_id: str) -> None:
        self._heard.add((volume_id, device_id))

    def proved(self, volume: models.Volume) -> bool:
        """Whether every copy that this database thinks is written was heard of.

        Those suffice: whoever else came to be in sync did so in a turn they took part in.
        """
        written = {replica.device_id for replica in volume.replicas if replica.state != "stale"}
        return all((volume.id, device_id) in self._heard for device_id in written)

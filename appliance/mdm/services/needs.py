"""Why a volume needs a turn: questions to its rows in the database and to a look at its devices.
Nothing is changed here; ``upkeep`` asks, and acts."""

from dataclasses import dataclass

from appliance.mdm.db import models
from appliance.mdm.services import orders, scrub_orders
from appliance.mdm.services.turns import OpenTurn


@dataclass(frozen=True, slots=True)
class Look:
    """Devices of a volume: those that answer and work, those known not to, those that failed, and
    those without room for writes. ``resting``: their SDS is in maintenance.

    A device whose SDS is not heard of yet, after a start of the MDM, is neither up nor down.
    """

    up: set[str]
    down: set[str]
    failed: set[str]
    full: set[str]
    resting: set[str]


def newcomers(volume: models.Volume) -> list[models.Incarnation]:
    live = [incarnation for incarnation in volume.incarnations if incarnation.state == "live"]
    return [incarnation for incarnation in live if not orders.granted(volume, incarnation.id)]


def in_use(volume: models.Volume) -> bool:
    """Whether any client has a map, so that its I/O may wait for a turn."""
    live = [incarnation for incarnation in volume.incarnations if incarnation.state == "live"]
    return any(orders.granted(volume, incarnation.id) for incarnation in live)


def _used(volume: models.Volume) -> bool:
    return any(incarnation.state == "live" for incarnation in volume.incarnations)


def newcomer(volume: models.Volume) -> str:
    return "a client maps the volume" if newcomers(volume) else ""


def doubtful(volume: models.Volume) -> str:
    if any(incarnation.state == "doubt" for incarnation in volume.incarnations):
        return "a client ended uncleanly"
    return ""


def server_lost(volume: models.Volume, look: Look) -> str:
    """Why a replica that is to be served is not, or is not to be any more; empty if all is well."""
    if not orders.serves(volume):
        return ""
    for leg in orders.written_legs(volume):
        if leg.generation != volume.generation or not leg.serving:
            begins = scrub_orders.wanted(volume) and not _used(volume)
            return "a scrub needs servers" if begins else "a data server ended"
        if leg.device_id in look.down:
            return "an SDS does not answer, or its device failed or lost its files"
    return "an SDS is in maintenance" if _may_rest(volume, look) else ""


def _may_rest(volume: models.Volume, look: Look) -> bool:
    """Whether a turn now would take a replica of an SDS in maintenance out of the map."""
    good = {
        (r.column, r.device_id)
        for r in volume.replicas
        if r.state == "in_sync" and r.device_id in look.up - look.resting
    }
    return any(
        r.state != "stale"
        and r.device_id in look.resting
        and any(column == r.column for column, _ in good)
        for r in volume.replicas
    )


def begin_anew(volume: models.Volume, found: OpenTurn) -> str:
    """Why the open turn is not enough: its orders went out before this was known."""
    if {incarnation.id for incarnation in volume.incarnations} - found.incarnations:
        return "another client maps the volume"
    if any(leg.device_id in found.turn.seals and not leg.serving for leg in volume.legs):
        return "a data server ended in the turn"
    return "" if found.turn.doubt else doubtful(volume)


def stuck(volume: models.Volume, found: OpenTurn, look: Look) -> bool:
    """Whether a device the turn is blocked by is sealed in it but serves no more: it never will
    in this generation (R4)."""
    return any(
        leg.device_id in found.blocked_by & look.up
        and leg.generation == volume.generation
        and not leg.serving
        for leg in volume.legs
    )

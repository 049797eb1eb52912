"""Which devices shall hold no replicas any more, and why; which may take some.

Read by ``relocation``.
A device that stays away longer than its domain's ``rebuild_delay_s``, or that failed, or that
people want back, is to be vacated.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select

from appliance.domain import health
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import capacity, context, reach

#: Of a device's capacity, this part stays free when replicas move there. Percent.
KEPT_FREE_PERCENT = 5


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a device is to be vacated, in the words of the job that does it."""

    kind: str
    subject_kind: str
    subject_id: str
    subject_name: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class Site:
    """A device. ``known``: its agent was heard, or silent for long enough. ``up``: what is on it
    can be read. ``usable``: new replicas may go there. ``away_s``: for how long it has not been to
    be had, None if it is there. ``absent_noted``: the database knows that it is away."""

    id: str
    path: str
    pool_id: str
    sds_id: str
    sds_name: str
    fault_set: str
    capacity_bytes: int
    limit_bytes: int
    free_bytes: int
    known: bool
    up: bool
    usable: bool
    away_s: float | None
    absent_noted: bool
    cause: Cause | None


class Absences:
    """Since when devices are away: by this process's clock; over its restarts by the wall's,
    which the database has. One per MDM."""

    def __init__(self, ctx: context.Context) -> None:
        self._ctx = ctx
        self._since: dict[str, float] = {}

    def away_s(self, device_id: str, away: bool, noted: float | None) -> float | None:
        """``noted``: what the database says."""
        if not away:
            self._since.pop(device_id, None)
            return None
        now = self._ctx.clock.monotonic()
        if device_id not in self._since:
            before_s = 0.0 if noted is None else max(0.0, self._ctx.clock.wall() - noted)
            self._since[device_id] = now - before_s
        return now - self._since[device_id]


def look(ctx: context.Context, tx: unit_of_work.Tx, absences: Absences) -> dict[str, Site]:
    """Every device, by id."""
    agents: dict[str, health.Reach] = {}
    found = {}
    for row in tx.session.execute(_QUERY):
        if row.sds_id not in agents:
            agents[row.sds_id] = reach.agent(ctx, row.sds_id)[0]
        found[row.id] = _site(row, agents[row.sds_id], absences)
    return found


def wishes(tx: unit_of_work.Tx) -> set[Cause]:
    """What people ordered of whole SDSs, whether they have devices or not."""
    kinds = {"evacuating": "evacuate", "removing": "sds_remove"}
    query = select(models.Sds.id, models.Sds.name, models.Sds.state)
    return {
        Cause(kinds[state], "sds", ident, name)
        for ident, name, state in tx.session.execute(query.where(models.Sds.state.in_(kinds)))
    }


def note(tx: unit_of_work.Tx, sites: Mapping[str, Site]) -> None:
    """Let the database know since when devices are away."""
    for site in sites.values():
        if (site.away_s is not None) != site.absent_noted:
            row = tx.session.get_one(models.Device, site.id)
            row.absent_since = None if site.away_s is None else tx.now - site.away_s


def rooms(
    tx: unit_of_work.Tx, sites: Iterable[Site], promised: Mapping[str, int]
) -> dict[str, int]:
    """Bytes that may yet move to each device; ``promised``: to moves that go on."""
    sites = list(sites)
    space = capacity.device_space(tx, sites)
    return {
        site.id: space[site.id].room()
        - promised.get(site.id, 0)
        - capacity.usable_bytes(site) * KEPT_FREE_PERCENT // 100
        for site in sites
    }


_QUERY = (
    select(
        models.Device.id,
        models.Device.path,
        models.Device.pool_id,
        models.Device.sds_id,
        models.Device.state,
        models.Device.draining,
        models.Device.absent_since,
        models.Device.capacity_bytes,
        models.Device.limit_bytes,
        models.Device.free_bytes,
        models.Sds.name.label("sds_name"),
        models.Sds.state.label("sds_state"),
        func.coalesce(models.Sds.fault_set_id, models.Sds.id).label("fault_set"),
        models.Domain.rebuild_delay_s,
    )
    .join(models.Sds, models.Sds.id == models.Device.sds_id)
    .join(models.Domain, models.Domain.id == models.Sds.domain_id)
    .order_by(models.Device.id)
)


def _site(row: Any, agent: health.Reach, absences: Absences) -> Site:
    away = agent is health.Reach.DOWN or row.state in ("missing", "refused")
    away = away and row.sds_state != "maintenance"  # that is meant
    noted = row.absent_since
    if agent is health.Reach.UNKNOWN:
        away_s = None if noted is None else 0.0  # too early to say: as it was
    else:
        away_s = absences.away_s(row.id, away, noted)
    cause = _cause(row, agent, away_s)
    up = agent is health.Reach.UP and row.state == "ok"
    return Site(
        id=row.id,
        path=row.path,
        pool_id=row.pool_id,
        sds_id=row.sds_id,
        sds_name=row.sds_name,
        fault_set=row.fault_set,
        capacity_bytes=row.capacity_bytes,
        limit_bytes=row.limit_bytes,
        free_bytes=row.free_bytes,
        known=agent is not health.Reach.UNKNOWN,
        up=up,
        usable=up and cause is None and row.sds_state == "normal",
        away_s=away_s,
        absent_noted=noted is not None,
        cause=cause,
    )


def _cause(row: Any, agent: health.Reach, away_s: float | None) -> Cause | None:
    of_sds = ("sds", row.sds_id, row.sds_name)
    of_device = ("device", row.id, row.path)
    if row.sds_state == "removing":
        return Cause("sds_remove", *of_sds)
    if row.draining:
        return Cause("device_remove", *of_device)
    if row.sds_state == "evacuating":
        return Cause("evacuate", *of_sds)
    if row.state == "failed":
        return Cause("rebuild", *of_device)
    if row.sds_state == "maintenance" or away_s is None or away_s < row.rebuild_delay_s:
        return None
    return Cause("rebuild", *(of_sds if agent is health.Reach.DOWN else of_device))

"""Who answers: agents by their heartbeats, devices by their agents. Read by every view."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select

from appliance.domain import health
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import context

#: For this long after its start the MDM does not call an agent down that it has not heard.
GRACE_S = 10.0


@dataclass(frozen=True, slots=True)
class Place:
    """A device, as far as replicas on it are concerned. ``resting``: its SDS is in maintenance."""

    device_id: str
    path: str
    state: str
    sds_id: str
    sds_name: str
    reach: health.Reach
    resting: bool = False


def agent(ctx: context.Context, ident: str) -> tuple[health.Reach, float | None]:
    """Whether the agent answers, and how many seconds ago it did (None: never)."""
    now = ctx.clock.monotonic()
    silent_s = ctx.liveness.silent_s(ident, now)
    if silent_s is None:
        early = now - ctx.started < max(GRACE_S, 3 * ctx.config.heartbeat_limit_s)
        return (health.Reach.UNKNOWN if early else health.Reach.DOWN), None
    up = silent_s <= ctx.config.heartbeat_limit_s and not ctx.liveness.refuses(ident)
    return (health.Reach.UP if up else health.Reach.DOWN), round(silent_s, 3)


def agent_health(
    reach: health.Reach, last_seen_s: float | None, refuses: bool
) -> tuple[health.Health, str]:
    """The same in the words of health, with a reason. ``refuses``: see ``liveness.refuses``."""
    if reach is health.Reach.UP:
        return health.Health.HEALTHY, ""
    if reach is health.Reach.UNKNOWN:
        return health.Health.UNKNOWN, "not heard of since the MDM started"
    if refuses:
        return health.Health.UNHEALTHY, "its host is there, but the agent ended; see its log"
    since = "since the MDM started" if last_seen_s is None else f"for {last_seen_s:.0f} s"
    return health.Health.UNHEALTHY, f"no heartbeat {since}; see whether its host and agent run"


def places(
    ctx: context.Context, tx: unit_of_work.Tx, device_ids: Iterable[str] | None = None
) -> dict[str, Place]:
    """The devices named, or all, by id."""
    query = select(
        models.Device.id,
        models.Device.path,
        models.Device.state,
        models.Sds.id,
        models.Sds.name,
        models.Sds.state,
    ).join(models.Sds, models.Sds.id == models.Device.sds_id)
    if device_ids is not None:
        query = query.where(models.Device.id.in_(set(device_ids)))
    agents: dict[str, health.Reach] = {}
    found = {}
    for device_id, path, state, sds_id, sds_name, sds_state in tx.session.execute(query):
        if sds_id not in agents:
            agents[sds_id] = agent(ctx, sds_id)[0]
        reach = agents[sds_id] if state in ("ok", "adding", "removing") else health.Reach.DOWN
        resting = sds_state == "maintenance"
        found[device_id] = Place(device_id, path, state, sds_id, sds_name, reach, resting)
    return found

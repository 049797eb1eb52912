"""The answer of ``/health``, which anyone may ask: is this MDM alive, and can it work?

It names no part of the cluster: who has no token learns how the MDM is, nothing else.
"""

import shutil

from sqlalchemy import select

from appliance.common import errors, units
from appliance.domain import health
from appliance.mdm import cluster_shapes
from appliance.mdm.db import models
from appliance.mdm.services import context

#: Below this the MDM's disk counts as nearly full.
_LOW_DISK_BYTES = 64 * units.MIB


def check(ctx: context.Context) -> cluster_shapes.Health:
    """Ready means that the database answers. Blocks for one small query."""
    try:
        with ctx.uow.read() as tx:
            tx.session.execute(select(models.Cluster.term)).one()
    except errors.BasaltError as exc:
        return _answer(False, health.Health.UNHEALTHY, [str(exc)])
    free = shutil.disk_usage(ctx.config.data_dir).free
    if free < _LOW_DISK_BYTES:
        why = f"the MDM's disk has {units.format_size(free)} left; changes will soon be refused"
        return _answer(True, health.Health.DEGRADED, [why])
    if why := ctx.uow.trouble():
        return _answer(True, health.Health.DEGRADED, [why])
    return _answer(True, health.Health.HEALTHY, [])


def _answer(ready: bool, word: health.Health, reasons: list[str]) -> cluster_shapes.Health:
    return {"live": True, "ready": ready, "status": word.value, "reasons": reasons}

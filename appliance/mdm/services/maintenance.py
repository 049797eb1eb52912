"""Maintenance: an SDS is absent for a short time and by intent. Nothing is rebuilt meanwhile, and
when it is back only what was written in between is copied.

Its replicas leave the maps in turns as soon as it is entered (``upkeep``), so that nothing waits
for it when it stops.
"""

from sqlalchemy import select

from appliance.common import errors
from appliance.domain import health
from appliance.mdm import shapes
from appliance.mdm.db import models
from appliance.mdm.services import context, reach, refs, sds, withdrawal


def enter(ctx: context.Context, actor: str, ref: str) -> shapes.Sds:
    """Raises errors.Conflict if a column would be left without a copy that can be read."""
    with ctx.uow.write(actor) as tx:
        row = refs.find(tx, models.Sds, ref)
        if row.state == "maintenance":
            return sds.one(ctx, tx, row)
        if row.state != "normal":
            raise errors.Conflict(why=f"SDS '{row.name}' is in state {row.state}; end that first")
        devices = tx.session.execute(
            select(models.Device.id, models.Device.sds_id, models.Device.state, models.Sds.state)
            .join(models.Sds, models.Sds.id == models.Device.sds_id)
        ).all()  # fmt: skip
        good = {
            device_id
            for device_id, sds_id, state, sds_state in devices
            if state == "ok"
            and sds_state != "maintenance"
            and reach.agent(ctx, sds_id)[0] is health.Reach.UP
        }
        own = {device_id for device_id, sds_id, _, _ in devices if sds_id == row.id}
        alone = withdrawal.only_good(tx, own, good.__contains__)
        if alone:
            raise errors.Conflict(
                why=f"SDS '{row.name}' has the only good copy of parts of {refs.some(alone)}; wait "
                "until their copies are equal (basalt job list), or bring back the other SDSs"
            )
        row.state = "maintenance"
        tx.event("sds_maintenance_entered", "sds", row.id, row.name)
        return sds.one(ctx, tx, row)


def leave(ctx: context.Context, actor: str, ref: str) -> shapes.Sds:
    """The SDS is used again as soon as it answers. Raises errors.Conflict."""
    with ctx.uow.write(actor) as tx:
        row = refs.find(tx, models.Sds, ref)
        if row.state != "maintenance":
            raise errors.Conflict(why=f"SDS '{row.name}' is not in maintenance")
        row.state = "normal"
        tx.event("sds_maintenance_left", "sds", row.id, row.name)
        return sds.one(ctx, tx, row)

"""What clients count of their mappings, as JSON objects."""

from typing import Any

from sqlalchemy import select

from appliance.mdm import shapes
from appliance.mdm.db import models
from appliance.mdm.services import context, volume_views
from appliance.protocol import codec


def read(ctx: context.Context) -> dict[str, Any]:
    """Statistics of every mapping there is. A mapping nobody told of yet is left out."""
    newest = ctx.statistics.newest()
    query = (
        select(models.Mapping.id, models.Mapping.volume_id, models.Volume.name, models.Sdc.name)
        .join(models.Volume, models.Volume.id == models.Mapping.volume_id)
        .join(models.Sdc, models.Sdc.id == models.Mapping.sdc_id)
        .order_by(models.Volume.name, models.Sdc.name)
    )
    items: list[shapes.Statistics] = []
    with ctx.uow.read() as tx:
        for mapping_id, volume_id, volume, sdc in tx.session.execute(query):
            if mapping_id not in newest:
                continue
            at, plugin = newest[mapping_id]
            items.append(
                {
                    "mapping_id": mapping_id,
                    "volume_id": volume_id,
                    "volume": volume_views.shown_name(volume),
                    "sdc": sdc,
                    "incarnation": plugin.incarnation,
                    "at": at,
                    "waiting": plugin.waiting,
                    "stats": codec.to_json(plugin.stats),
                }
            )
    return {"items": items, "next": None, "device_sync_s": ctx.statistics.sync_s()}

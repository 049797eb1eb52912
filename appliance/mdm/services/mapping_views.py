"""Mappings as JSON objects."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy
from sqlalchemy import select

from appliance.mdm import shapes
from appliance.mdm.db import models, unit_of_work


def of_volumes(
    tx: unit_of_work.Tx, ids: sqlalchemy.Select[Any] | Sequence[str]
) -> dict[str, list[shapes.Mapping]]:
    """Mappings of the volumes of ``ids`` (a query, or the ids themselves), by volume."""
    query = (
        select(models.Mapping, models.Volume.name, models.Sdc.name)
        .join(models.Volume, models.Volume.id == models.Mapping.volume_id)
        .join(models.Sdc, models.Sdc.id == models.Mapping.sdc_id)
        .where(models.Mapping.volume_id.in_(ids))
        .order_by(models.Sdc.name)
    )
    found: dict[str, list[shapes.Mapping]] = {}
    for row, volume, sdc in tx.session.execute(query):
        found.setdefault(row.volume_id, []).append(view(row, volume, sdc))
    return found


def view(row: models.Mapping, volume: str, sdc: str) -> shapes.Mapping:
    return {
        "id": row.id,
        "volume": volume,
        "volume_id": row.volume_id,
        "sdc": sdc,
        "sdc_id": row.sdc_id,
        "read_only": row.read_only,
        "backend": row.backend,
        "used_backend": row.used_backend,
        "backend_reason": row.backend_reason,
        "state": row.state,
        "device": row.device,
        "device_size_bytes": row.device_size,
        "link": row.link,
        "uri": row.uri,
        "error": row.error,
        "created_at": row.created_at,
    }

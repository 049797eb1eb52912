"""The cluster itself: its identity, the MDM's term, and how much of everything there is."""

import secrets
from typing import Any

from sqlalchemy import func, select

from appliance.common import release
from appliance.mdm import cluster_shapes
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import context, domains

#: A cluster has one name; there is nothing to tell two apart by but the id.
NAME = "basalt"

_COUNTED: dict[str, Any] = {
    "domains": models.Domain,
    "fault_sets": models.FaultSet,
    "pools": models.Pool,
    "sds": models.Sds,
    "devices": models.Device,
    "sdcs": models.Sdc,
    "volumes": models.Volume,
    "mappings": models.Mapping,
}


def begin_term(uow: unit_of_work.UnitOfWork) -> tuple[str, int]:
    """Called at each start: the cluster's id, made at the first one, and a new, higher term.

    Terms are at least the time of their beginning, so that they go on rising after yesterday's
    database was restored: agents refuse a lower term than they have seen (R10).
    """
    with uow.write("mdm") as tx:
        row = tx.session.get(models.Cluster, 1)
        if row is None:
            row = models.Cluster(key=1, id=secrets.token_hex(8), term=0, revision=0)
            row.created_at = tx.now
            tx.session.add(row)
            domains.add(tx, "default")
        row.term = max(row.term + 1, int(tx.now))
        tx.event("mdm_started", "cluster", row.id, NAME, term=row.term)
        return row.id, row.term


def get(ctx: context.Context) -> cluster_shapes.Cluster:
    with ctx.uow.read() as tx:
        row = tx.session.get_one(models.Cluster, 1)
        return {
            "id": row.id,
            "name": NAME,
            "term": row.term,
            "revision": row.revision,
            "version": release.VERSION,
            "created_at": row.created_at,
            "counts": counts(tx),
        }


def counts(tx: unit_of_work.Tx) -> dict[str, int]:
    """How many rows there are of each kind, in one query."""
    parts = [
        select(func.count()).select_from(model).scalar_subquery().label(name)
        for name, model in _COUNTED.items()
    ]
    row = tx.session.execute(select(*parts)).one()
    return {name: int(getattr(row, name)) for name in _COUNTED}


def links() -> dict[str, str]:
    """Where to go on from ``GET /``."""
    return {
        "api": "/api/v1",
        "openapi": "/api/v1/openapi.json",
        "status": "/api/v1/status",
        "health": "/health",
        "components": "/health/components",
        "topology": "/discovery/topology",
        "cluster_metrics": "/metrics/cluster",
        "metrics": "/metrics",
    }

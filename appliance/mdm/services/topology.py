"""What belongs where: the whole cluster as a tree, and as a flat list of components."""

from collections import defaultdict

from sqlalchemy import select

from appliance.mdm import cluster_shapes, shapes
from appliance.mdm.db import models
from appliance.mdm.services import context, peers, pools, sdcs, sds


def tree(ctx: context.Context) -> cluster_shapes.Topology:
    """Domains, their fault sets and pools, SDSs and devices; and the clients."""
    with ctx.uow.read() as tx:
        servers: dict[str, list[shapes.Sds]] = defaultdict(list)
        for one in sds.all_in(ctx, tx):
            servers[one["domain_id"]].append(one)
        of_domain: dict[str, list[shapes.Pool]] = defaultdict(list)
        for pool in pools.all_in(tx):
            of_domain[pool["domain_id"]].append(pool)
        domains: list[cluster_shapes.TopologyDomain] = [
            {
                "id": row.id,
                "name": row.name,
                "fault_sets": _fault_sets(servers[row.id]),
                "pools": of_domain[row.id],
            }
            for row in tx.session.scalars(select(models.Domain).order_by(models.Domain.name))
        ]
        cluster_id = tx.session.get_one(models.Cluster, 1).id
        return {"cluster_id": cluster_id, "domains": domains, "sdcs": sdcs.all_in(ctx, tx)}


def components(
    ctx: context.Context, asked: peers.Peers, host: str, port: int
) -> list[cluster_shapes.Component]:
    """Every process of the cluster; this MDM answers at ``host``:``port``."""
    with ctx.uow.read() as tx:
        cluster_id = tx.session.get_one(models.Cluster, 1).id
        found = [_component("mdm", cluster_id, "mdm", [host], port, "healthy", "", None)]
        for one in sds.all_in(ctx, tx):
            found.append(_of_agent("sds", one, asked))
        for client in sdcs.all_in(ctx, tx):
            found.append(_of_agent("sdc", client, asked))
        return found


def _fault_sets(servers: list[shapes.Sds]) -> list[cluster_shapes.TopologyFaultSet]:
    by_set: dict[tuple[str, str | None], cluster_shapes.TopologyFaultSet] = {}
    for one in servers:
        key = (one["fault_set"] or "", one["fault_set_id"])
        if key not in by_set:
            by_set[key] = {"id": one["fault_set_id"], "name": one["fault_set"], "sds": []}
        by_set[key]["sds"].append(
            {
                "id": one["id"],
                "name": one["name"],
                "health": one["health"],
                "reason": one["reason"],
                "state": one["state"],
                "hosts": one["hosts"],
                "control_port": one["control_port"],
                "version": one["version"],
                "last_seen_s": one["last_seen_s"],
                "clock_skew_s": one["clock_skew_s"],
                "devices": one["devices"],
            }
        )
    return [by_set[key] for key in sorted(by_set, key=lambda key: key[0])]


def _of_agent(
    role: str, one: shapes.Sds | shapes.Sdc, asked: peers.Peers
) -> cluster_shapes.Component:
    return _component(
        role, one["id"], one["name"], one["hosts"], one["control_port"], one["health"],
        one["reason"], asked.get(one["id"]),
    )  # fmt: skip


def _component(
    role: str,
    ident: str,
    name: str,
    hosts: list[str],
    port: int,
    state: str,
    reason: str,
    peer: peers.Peer | None,
) -> cluster_shapes.Component:
    calls = peer.breaker.figures() if peer is not None else None
    reports = peer.check.report() if peer is not None and peer.check is not None else []
    return {
        "address": hosts[0] if hosts else "",
        "component_id": ident,
        "component_type": role,
        "name": name,
        "control_port": port,
        "data_port": 0,  # data servers have a port each, per volume and generation
        "state": state,
        "reason": reason,
        "breaker": calls.state if calls else "closed",
        "check_count": sum(report["check_count"] for report in reports),
        "heal_attempts": sum(report["heal_attempts"] for report in reports),
        "calls": calls.calls if calls else 0,
        "failed_calls": calls.failed_calls if calls else 0,
        "refused_calls": calls.refused_calls if calls else 0,
        "p50_s": calls.p50_s if calls else 0.0,
        "p95_s": calls.p95_s if calls else 0.0,
        "p99_s": calls.p99_s if calls else 0.0,
    }

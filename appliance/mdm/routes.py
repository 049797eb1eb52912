"""Every method of every path of the MDM, and with it the OpenAPI document."""

from collections.abc import Callable
from typing import Any

from appliance.common import errors, release
from appliance.mdm import bodies, cluster_shapes, shapes
from appliance.mdm.resources import (
    agents,
    cluster,
    devices,
    domains,
    fault_sets,
    mappings,
    pools,
    scrubs,
    sdcs,
    sds,
    tokens,
    volumes,
)
from appliance.mdm.services import context, peers, recovery
from appliance.protocol import messages
from appliance.rest import metrics, openapi

Route = openapi.Route

_API = "/api/v1"

#: Asked so often that their successes are no news.
QUIET = (
    f"{_API}/agents/sds/{{ident}}/heartbeat",
    f"{_API}/agents/sdc/{{ident}}/heartbeat",
    "/health",
    "/health/components",
    "/health/metrics",
    "/metrics",
    "/metrics/cluster",
    "/discovery/topology",
    f"{_API}/status",
    f"{_API}/statistics",
    f"GET {_API}/events",
    f"GET {_API}/volumes",
    f"GET {_API}/volumes/{{ref}}",
)

_Taken = errors.AlreadyExists


def table(
    ctx: context.Context,
    heartbeats: agents.Heartbeats,
    held_recovery: recovery.Recovery,
    asked: peers.Peers,
    times: metrics.RequestTimes,
    address: Callable[[], tuple[str, int]],
) -> list[Route]:
    """All routes. ``address``: host and port this MDM is reached at, once it is."""
    whole = cluster.Cluster(ctx, asked, times, address)
    routes = [
        *_noun(domains.Domains(ctx), "domains", "Domain", shapes.Domain, bodies.DomainChange,
               bodies.NewDomain, (_Taken,)),
        *_noun(fault_sets.FaultSets(ctx), "fault-sets", "FaultSet", shapes.FaultSet, bodies.Rename,
               bodies.NewFaultSet, (_Taken, errors.NotFound)),
        *_pools(pools.Pools(ctx)),
        *_sds(sds.Servers(ctx)),
        *_noun(sdcs.Clients(ctx), "sdcs", "Sdc", shapes.Sdc, bodies.SdcChange),
        *_noun(tokens.Tokens(ctx), "tokens", "Token", shapes.Token, None, bodies.NewToken,
               (_Taken,), made=shapes.NewToken),
        *_devices(devices.Devices(ctx)),
        *_volumes(volumes.Volumes(ctx, held_recovery)),
        *_mappings(mappings.Mappings(ctx)),
        *_scrubs(scrubs.Scrubs(ctx)),
        *_cluster(whole),
        *_agents(agents.Agents(ctx, heartbeats)),
    ]  # fmt: skip
    whole.document = openapi.document("Basalt MDM", release.VERSION, routes)
    return routes


def _noun(
    resource: Any,
    noun: str,
    name: str,
    shape: Any,
    change: Any = None,
    new: Any = None,
    raises: tuple[type[errors.BasaltError], ...] = (),
    made: Any = None,
) -> list[Route]:
    """The routes that all nouns with names have."""
    path, tag = f"{_API}/{noun}", noun
    routes = [
        Route("GET", path, resource.on_list, f"list{name}s", f"List {noun}", tag,
              query=bodies.Page, response=shapes.page_of(shape)),
        Route("GET", f"{path}/{{ref}}", resource.on_show, f"get{name}", f"Show one of {noun}", tag,
              response=shape, raises=(errors.Conflict,)),
        Route("DELETE", f"{path}/{{ref}}", resource.on_delete, f"delete{name}",
              f"Delete one of {noun}", tag, status=204, raises=(errors.InUse,)),
    ]  # fmt: skip
    if new is not None:
        routes.append(
            Route("POST", path, resource.on_create, f"create{name}", f"Create one of {noun}", tag,
                  request=new, response=made or shape, status=201, raises=raises)
        )  # fmt: skip
    if change is not None:
        routes.append(
            Route("PATCH", f"{path}/{{ref}}", resource.on_update, f"update{name}",
                  f"Change one of {noun}", tag, request=change, response=shape,
                  raises=(_Taken, errors.Conflict))
        )  # fmt: skip
    return routes


def _pools(resource: pools.Pools) -> list[Route]:
    refused = (_Taken, errors.NotFound)
    return [
        *_noun(resource, "pools", "Pool", shapes.Pool, bodies.PoolChange, bodies.NewPool, refused),
        Route("POST", f"{_API}/pools/{{ref}}/rebalance", resource.on_rebalance, "rebalancePool",
              "Even a pool out now", "pools", request=bodies.Nothing, response=shapes.Accepted,
              status=202),
    ]  # fmt: skip


def _sds(resource: sds.Servers) -> list[Route]:
    path, tag = f"{_API}/sds/{{ref}}", "sds"
    refused = (errors.Conflict,)
    common = _noun(resource, "sds", "Sds", shapes.Sds, bodies.Rename)
    return [
        *(route for route in common if route.method != "DELETE"),
        Route("DELETE", path, resource.on_delete, "removeSds",
              "Forget an SDS, what it holds moved elsewhere first", tag, query=bodies.SdsRemoval,
              response=shapes.Accepted, status=202, raises=(errors.InUse, errors.Conflict)),
        Route("POST", f"{path}/evacuation", resource.on_evacuate, "evacuateSds",
              "Move everything off an SDS", tag, request=bodies.Nothing,
              response=shapes.Accepted, status=202, raises=refused),
        Route("DELETE", f"{path}/evacuation", resource.on_readmit, "readmitSds",
              "Use an SDS again that is or was evacuated", tag, response=shapes.Sds,
              raises=refused),
        Route("POST", f"{path}/maintenance", resource.on_enter_maintenance, "enterMaintenance",
              "Let an SDS be absent for a while", tag, request=bodies.Nothing,
              response=shapes.Sds, raises=refused),
        Route("DELETE", f"{path}/maintenance", resource.on_leave_maintenance, "leaveMaintenance",
              "Use an SDS again after maintenance", tag, response=shapes.Sds, raises=refused),
    ]  # fmt: skip


def _devices(resource: devices.Devices) -> list[Route]:
    path, tag = f"{_API}/devices", "devices"
    return [
        Route("GET", path, resource.on_list, "listDevices", "List devices", tag,
              query=bodies.Page, response=shapes.page_of(shapes.Device)),
        Route("POST", path, resource.on_create, "addDevice", "Let an SDS adopt a directory", tag,
              request=bodies.NewDevice, response=shapes.Device, status=201,
              raises=(_Taken, errors.Conflict, errors.NotFound)),
        Route("GET", f"{path}/{{ref}}", resource.on_show, "getDevice", "Show a device", tag,
              response=shapes.Device),
        Route("DELETE", f"{path}/{{ref}}", resource.on_delete, "removeDevice",
              "Take a device back from its SDS", tag, query=bodies.Force,
              response=shapes.Accepted, status=202, raises=(errors.InUse, errors.Conflict)),
    ]  # fmt: skip


def _volumes(resource: volumes.Volumes) -> list[Route]:
    path, tag = f"{_API}/volumes", "volumes"
    return [
        Route("GET", path, resource.on_list, "listVolumes", "List volumes", tag,
              query=bodies.VolumePage, response=shapes.page_of(shapes.VolumeListed)),
        Route("POST", path, resource.on_create, "createVolume", "Create a volume", tag,
              request=bodies.NewVolume, response=shapes.Volume, status=201,
              raises=(_Taken, errors.NoCapacity, errors.NotFound)),
        Route("GET", f"{path}/{{ref}}", resource.on_show, "getVolume", "Show a volume", tag,
              response=shapes.Volume),
        Route("PATCH", f"{path}/{{ref}}", resource.on_update, "updateVolume",
              "Rename, grow or otherwise change a volume", tag, request=bodies.VolumeChange,
              response=shapes.Volume, raises=(_Taken, errors.Conflict, errors.NoCapacity)),
        Route("DELETE", f"{path}/{{ref}}", resource.on_delete, "deleteVolume", "Delete a volume",
              tag, response=shapes.Accepted, status=202, raises=(errors.InUse,)),
        Route("GET", f"{path}/{{ref}}/recovery", resource.on_recovery, "getRecovery",
              "What a blocked volume waits for, and what going on without it would cost", tag,
              response=shapes.Recovery),
        Route("POST", f"{path}/{{ref}}/recovery", resource.on_recover, "recoverVolume",
              "Go on without what a blocked volume waits for", tag, request=bodies.Recover,
              response=shapes.Recovery, raises=(errors.Conflict,)),
    ]  # fmt: skip


def _mappings(resource: mappings.Mappings) -> list[Route]:
    path, tag = f"{_API}/volumes/{{ref}}/mappings", "mappings"
    one = f"{path}/{{mapping}}"
    return [
        Route("GET", path, resource.on_list, "listMappings", "List a volume's mappings", tag,
              response=shapes.page_of(shapes.Mapping)),
        Route("POST", path, resource.on_create, "mapVolume", "Map a volume to a client", tag,
              request=bodies.NewMapping, response=shapes.Mapping, status=201,
              raises=(errors.Conflict,)),
        Route("GET", one, resource.on_show, "getMapping", "Show a mapping", tag,
              response=shapes.Mapping),
        Route("DELETE", one, resource.on_delete, "unmapVolume", "Unmap a volume from a client",
              tag, query=bodies.Force, response=shapes.Mapping, status=202),
    ]  # fmt: skip


def _scrubs(resource: scrubs.Scrubs) -> list[Route]:
    tag = "scrubs"
    return [
        Route("GET", f"{_API}/scrubs", resource.on_list, "listScrubs",
              "List volumes that were ever scrubbed", tag, response=shapes.page_of(shapes.Scrub)),
        Route("POST", f"{_API}/volumes/{{ref}}/scrub", resource.on_action, "scrubVolume",
              "Start, pause, resume or stop a scrub", tag, request=bodies.ScrubAction,
              response=shapes.Scrub, raises=(errors.Conflict,)),
    ]  # fmt: skip


def _cluster(of: cluster.Cluster) -> list[Route]:
    api, obs = "cluster", "observability"
    plain = "text/plain"
    return [
        Route("GET", "/", of.on_root, "root", "What answers here", api,
              response=cluster_shapes.Root),
        Route("GET", f"{_API}/cluster", of.on_cluster, "getCluster", "The cluster's identity", api,
              response=cluster_shapes.Cluster),
        Route("GET", f"{_API}/status", of.on_status, "getStatus", "How the cluster is", api,
              response=cluster_shapes.Status),
        Route("GET", f"{_API}/openapi.json", of.on_openapi, "getOpenapi", "This document", api,
              response=dict[str, Any]),
        Route("GET", f"{_API}/jobs", of.on_jobs, "listJobs", "List jobs, newest first", "jobs",
              query=bodies.JobPage, response=shapes.page_of(shapes.Job)),
        Route("GET", f"{_API}/jobs/{{ref}}", of.on_job, "getJob", "Show a job", "jobs",
              response=shapes.Job),
        Route("DELETE", f"{_API}/jobs/{{ref}}", of.on_cancel_job, "cancelJob",
              "Stop a job that moves replicas", "jobs", response=shapes.Job, status=202,
              raises=(errors.Conflict,)),
        Route("GET", f"{_API}/statistics", of.on_statistics, "listStatistics",
              "What clients count of each mapping", obs,
              response=shapes.StatisticsList),
        Route("GET", f"{_API}/events", of.on_events, "listEvents", "List events",
              "events", query=bodies.EventPage, response=shapes.page_of(shapes.Event)),
        Route("GET", f"{_API}/backups", of.on_backups, "listBackups", "List backups", "backups",
              response=shapes.page_of(shapes.Backup)),
        Route("POST", f"{_API}/backups", of.on_backup, "createBackup",
              "Copy the MDM's database, verified, into its data folder", "backups",
              request=bodies.NewBackup, response=shapes.Backup, status=201,
              raises=(errors.Conflict, errors.Unavailable)),
        Route("GET", "/health", of.on_health, "health", "Whether this MDM is alive and ready", obs,
              response=cluster_shapes.Health, raises=(errors.Unavailable,), public=True),
        Route("GET", "/health/components", of.on_components, "listComponents",
              "Every process and how it is", obs, response=list[cluster_shapes.Component]),
        Route("GET", "/health/metrics", of.on_health_metrics, "healthMetrics",
              "How much of everything is well", obs, response=cluster_shapes.HealthMetrics),
        Route("GET", "/discovery/topology", of.on_topology, "topology", "What belongs where", obs,
              response=cluster_shapes.Topology),
        Route("GET", "/metrics/cluster", of.on_cluster_metrics, "clusterMetrics",
              "The cluster's numbers", obs, response=cluster_shapes.ClusterMetrics),
        Route("GET", "/metrics", of.on_prometheus, "prometheus", "The same for Prometheus", obs,
              response=str, content_type=plain),
    ]  # fmt: skip


def _agents(of: agents.Agents) -> list[Route]:
    path, tag = f"{_API}/agents", "agents"
    refused = (errors.Conflict, errors.Unavailable)
    return [
        Route("POST", f"{path}/sds", of.on_register_sds, "registerSds", "An SDS joins", tag,
              request=messages.Registration, response=messages.Registered, status=201,
              raises=refused),
        Route("POST", f"{path}/sdc", of.on_register_sdc, "registerSdc", "A client joins", tag,
              request=messages.Registration, response=messages.Registered, status=201,
              raises=refused),
        Route("POST", f"{path}/sds/{{ident}}/heartbeat", of.on_sds_heartbeat, "sdsHeartbeat",
              "An SDS reports and gets orders", tag, request=messages.SdsHeartbeat,
              response=messages.SdsOrders, raises=refused),
        Route("POST", f"{path}/sdc/{{ident}}/heartbeat", of.on_sdc_heartbeat, "sdcHeartbeat",
              "A client reports and gets orders", tag, request=messages.SdcHeartbeat,
              response=messages.SdcOrders, raises=refused),
    ]  # fmt: skip

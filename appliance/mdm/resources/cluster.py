"""REST: the cluster as a whole: status, jobs, events, backups, health, topology, metrics."""

from collections.abc import Callable
from typing import Any

import falcon

from appliance.common import release
from appliance.mdm import bodies
from appliance.mdm.resources import reply
from appliance.mdm.services import (
    backup,
    cluster,
    context,
    events,
    figures,
    jobs,
    overview,
    peers,
    prometheus,
    readiness,
    statistics_views,
    topology,
    withdrawal,
)
from appliance.rest import body, metrics


class Cluster:
    """``address`` is what this MDM is reached at: host, port."""

    def __init__(
        self,
        ctx: context.Context,
        asked: peers.Peers,
        times: metrics.RequestTimes,
        address: Callable[[], tuple[str, int]],
    ) -> None:
        self._ctx = ctx
        self._peers = asked
        self._times = times
        self._address = address
        self.document: dict[str, Any] = {}  # set once all routes are known

    def on_root(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = {
            "role": "mdm",
            "version": release.VERSION,
            "cluster_id": cluster.get(self._ctx)["id"],
            "links": cluster.links(),
        }

    def on_cluster(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = cluster.get(self._ctx)

    def on_status(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = overview.status(self._ctx)

    def on_openapi(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = self.document

    def on_jobs(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = jobs.list_page(self._ctx, body.query(req, bodies.JobPage))

    def on_job(self, _req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        resp.media = jobs.get(self._ctx, ref)

    def on_cancel_job(self, req: falcon.Request, resp: falcon.Response, ref: str) -> None:
        resp.status = falcon.HTTP_202
        resp.media = withdrawal.cancel(self._ctx, reply.actor(req), ref)

    def on_events(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = events.list_page(self._ctx, body.query(req, bodies.EventPage))

    def on_statistics(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = statistics_views.read(self._ctx)

    def on_backups(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = {"items": backup.list_all(self._ctx), "next": None}

    def on_backup(self, req: falcon.Request, resp: falcon.Response) -> None:
        body.read(req, bodies.NewBackup)
        reply.created(resp, "/api/v1/backups", backup.create(self._ctx, reply.actor(req)))

    def on_health(self, _req: falcon.Request, resp: falcon.Response) -> None:
        found = readiness.check(self._ctx)
        resp.status = falcon.HTTP_200 if found["ready"] else falcon.HTTP_503
        resp.media = found

    def on_components(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = topology.components(self._ctx, self._peers, *self._address())

    def on_health_metrics(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = figures.health_metrics(figures.read(self._ctx), self._peers.all())

    def on_topology(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = topology.tree(self._ctx)

    def on_cluster_metrics(self, _req: falcon.Request, resp: falcon.Response) -> None:
        found = figures.read(self._ctx)
        resp.media = figures.cluster_metrics(found, self._ctx.clock.wall())

    def on_prometheus(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type = prometheus.CONTENT_TYPE
        resp.data = prometheus.render(self._ctx, self._peers.all(), self._times)

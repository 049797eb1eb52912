"""MGMT's own numbers for Prometheus, read when it asks."""

from collections.abc import Iterator

import prometheus_client
from prometheus_client import core, registry

from appliance.mgmt.alerts import store
from appliance.mgmt.services import context
from appliance.rest import metrics

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST


def render(ctx: context.Context) -> bytes:
    collected = registry.CollectorRegistry()
    prometheus_client.ProcessCollector(registry=collected)
    collected.register(_Own(ctx))
    collected.register(ctx.times)
    return prometheus_client.generate_latest(collected)


class _Own(registry.Collector):
    def __init__(self, ctx: context.Context) -> None:
        self._ctx = ctx

    def collect(self) -> Iterator[core.Metric]:
        ctx = self._ctx
        current = ctx.view.current
        age_s = ctx.clock.wall() - current.at if current else float("nan")
        yield core.GaugeMetricFamily(
            "basalt_mgmt_snapshot_age_seconds", "Age of what MGMT knows of the cluster", age_s
        )
        yield core.GaugeMetricFamily(
            "basalt_mgmt_uptime_seconds", "Time since MGMT started",
            ctx.clock.monotonic() - ctx.started,
        )  # fmt: skip
        alerts = core.GaugeMetricFamily("basalt_mgmt_alerts", "Alerts by status", labels=["status"])
        for status, count in store.counts(ctx.db)["by_status"].items():
            alerts.add_metric([status], count)
        yield alerts
        yield from metrics.breakers([ctx.mdm.breaker])
        yield from metrics.checks_of([ctx.checks])

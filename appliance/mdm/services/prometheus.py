"""The cluster's numbers for Prometheus, read when it asks."""

from collections.abc import Iterator

import prometheus_client
from prometheus_client import core, registry

from appliance.mdm.services import context, figures, peers, reach
from appliance.rest import metrics

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST


def render(ctx: context.Context, asked: list[peers.Peer], times: metrics.RequestTimes) -> bytes:
    """The text Prometheus scrapes: this process's own numbers, and the cluster's."""
    collected = registry.CollectorRegistry()
    prometheus_client.ProcessCollector(registry=collected)
    collected.register(_Cluster(figures.read(ctx)))
    collected.register(_Agents(ctx, asked))
    collected.register(times)
    return prometheus_client.generate_latest(collected)


class _Cluster(registry.Collector):
    def __init__(self, found: figures.Figures) -> None:
        self._found = found

    def collect(self) -> Iterator[core.Metric]:
        found = self._found
        numbers: tuple[tuple[str, str, float], ...] = (
            ("basalt_mdm_database_bytes", "Size of the MDM's database", found.database_bytes),
            ("basalt_mdm_disk_free_bytes", "Free on the disk of it", found.disk_free_bytes),
            ("basalt_mdm_disk_size_bytes", "Size of the disk of it", found.disk_total_bytes),
            (
                "basalt_mdm_newest_backup_timestamp_seconds",
                "When the newest backup was made; the cluster's making while there is none",
                found.newest_backup_at or found.created_at,
            ),
            ("basalt_mdm_events", "Events kept", found.events),
            ("basalt_mdm_term", "The MDM's term", found.term),
            ("basalt_mdm_revision", "Newest revision of orders", found.revision),
            ("basalt_mdm_uptime_seconds", "Time since the MDM started", found.uptime_s),
            ("basalt_jobs_running", "Jobs going on", found.jobs_running),
            (
                "basalt_scrub_mismatches",
                "Units ever found to differ between two copies",
                found.scrubs["mismatches"],
            ),
            (
                "basalt_scrub_repaired",
                "Of these, how many were repaired",
                found.scrubs["repaired"],
            ),
            ("basalt_mappings", "Mappings", found.counts["mappings"]),
        )
        for name, text, value in numbers:
            yield core.GaugeMetricFamily(name, text, value=value)
        yield _labelled("basalt_capacity_bytes", "Bytes of all pools", "kind", _capacity(found))
        passes = {state: found.scrubs[state] for state in ("queued", "running", "paused")}
        yield _labelled("basalt_scrubs", "Passes over volumes by state", "state", passes)
        yield _labelled("basalt_volumes", "Volumes by health", "health", found.volumes)
        yield _labelled("basalt_devices", "Devices by state", "state", found.devices)
        agents = core.GaugeMetricFamily(
            "basalt_components",
            "Processes by role and whether they answer",
            labels=["role", "state"],
        )
        for role, count in found.roles.items():
            agents.add_metric([role, "up"], count["up"])
            agents.add_metric([role, "down"], count["down"])
            agents.add_metric([role, "unknown"], count["unknown"])
        yield agents


class _Agents(registry.Collector):
    def __init__(self, ctx: context.Context, asked: list[peers.Peer]) -> None:
        self._ctx = ctx
        self._asked = asked

    def collect(self) -> Iterator[core.Metric]:
        silent = core.GaugeMetricFamily(
            "basalt_agent_silent_seconds",
            "Time since an agent's last heartbeat",
            labels=["role", "name"],
        )
        skew = core.GaugeMetricFamily(
            "basalt_agent_clock_skew_seconds",
            "How far an agent's clock is ahead of the MDM's",
            labels=["role", "name"],
        )
        for peer in self._asked:
            silent_s = reach.agent(self._ctx, peer.id)[1]
            if silent_s is not None:
                silent.add_metric([peer.role, peer.name], silent_s)
            skew_s = self._ctx.statistics.skew_s(peer.id)
            if skew_s is not None:
                skew.add_metric([peer.role, peer.name], skew_s)
        yield from (silent, skew)
        yield from metrics.breakers([peer.breaker for peer in self._asked])
        yield from metrics.checks_of([peer.check for peer in self._asked if peer.check])


def _capacity(found: figures.Figures) -> dict[str, int]:
    return {
        "capacity": found.capacity["capacity_bytes"],
        "used": found.capacity["used_bytes"],
        "provisioned": found.capacity["provisioned_bytes"],
        "reserved": found.capacity["reserved_bytes"],
        "free": found.capacity["free_bytes"],
    }


def _labelled(name: str, text: str, label: str, values: dict[str, int]) -> core.GaugeMetricFamily:
    family = core.GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family

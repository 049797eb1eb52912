"""The client's numbers for Prometheus, read when it asks: what the plugins count of each volume.

Served at the control port to anybody on the control network, as /health is: names of volumes and
counters, nothing that opens a door.
"""

from collections.abc import Iterator, Sequence

import prometheus_client
from prometheus_client import core, registry

from appliance.protocol import messages
from appliance.rest import metrics

_KINDS = ("read", "write", "flush", "trim")

#: (volume's name, what its mapping reports)
Seen = tuple[str, messages.MappingReport]


def render(seen: Sequence[Seen], heard: bool) -> bytes:
    """``heard``: the MDM answered the last heartbeat."""
    collected = registry.CollectorRegistry()
    prometheus_client.ProcessCollector(registry=collected)
    collected.register(_Client(seen, heard))
    return prometheus_client.generate_latest(collected)


class _Client(registry.Collector):
    def __init__(self, seen: Sequence[Seen], heard: bool) -> None:
        self._seen = seen
        self._heard = heard

    def collect(self) -> Iterator[core.Metric]:
        yield core.GaugeMetricFamily(
            "basalt_sdc_mdm_reachable", "1 while the MDM answers heartbeats", float(self._heard)
        )
        yield from self._mappings()
        yield from self._io()
        yield self._latency()

    def _mappings(self) -> Iterator[core.Metric]:
        attached = core.GaugeMetricFamily(
            "basalt_volume_attached", "1 while the volume is attached", labels=["volume"]
        )
        waiting = core.GaugeMetricFamily(
            "basalt_volume_waiting", "1 while I/O waits for a replica or the MDM", labels=["volume"]
        )
        for volume, report in self._seen:
            attached.add_metric([volume], float(report.state == "attached"))
            told = report.plugin
            waiting.add_metric([volume], float(told is not None and bool(told.waiting)))
        yield from (attached, waiting)

    def _io(self) -> Iterator[core.Metric]:
        operations = core.CounterMetricFamily(
            "basalt_volume_operations", "Requests answered", labels=["volume", "operation"]
        )
        moved = core.CounterMetricFamily(
            "basalt_volume_bytes", "Bytes read and written", labels=["volume", "operation"]
        )
        plain: list[tuple[core.CounterMetricFamily, str]] = [
            (_counter("basalt_volume_errors", "Requests that failed"), "errors"),
            (_counter("basalt_volume_degraded_seconds", "Time with one good copy"), "degraded_s"),
            (_counter("basalt_volume_turns", "New generations taken into use"), "turns"),
        ]
        in_flight = core.GaugeMetricFamily(
            "basalt_volume_in_flight_requests", "Requests not answered yet", labels=["volume"]
        )
        for volume, stats in self._stats():
            for kind, count in zip(
                _KINDS, (stats.reads, stats.writes, stats.flushes, stats.trims), strict=True
            ):
                operations.add_metric([volume, kind], count)
            moved.add_metric([volume, "read"], stats.read_bytes)
            moved.add_metric([volume, "write"], stats.write_bytes)
            for family, name in plain:
                family.add_metric([volume], getattr(stats, name))
            in_flight.add_metric([volume], stats.in_flight)
        yield from (operations, moved, in_flight, *(family for family, _ in plain))

    def _latency(self) -> core.HistogramMetricFamily:
        family = core.HistogramMetricFamily(
            "basalt_volume_request_duration_seconds", "How long requests took",
            labels=["volume", "operation"],
        )  # fmt: skip
        for volume, stats in self._stats():
            for kind, counts in stats.latency.items():
                family.add_metric(
                    [volume, kind], metrics.buckets(counts), stats.seconds.get(kind, 0.0)
                )
        return family

    def _stats(self) -> Iterator[tuple[str, messages.IoStats]]:
        for volume, report in self._seen:
            if report.plugin is not None:
                yield volume, report.plugin.stats


def _counter(name: str, text: str) -> core.CounterMetricFamily:
    return core.CounterMetricFamily(name, text, labels=["volume"])

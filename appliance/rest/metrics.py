"""Metrics that every role has: its breakers, its checks, and how long requests take."""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import falcon
from prometheus_client import core, registry

from appliance.domain import latency
from appliance.rest import breaker, checks

_STATES = ("closed", "half-open", "open")
_HEALTH = ("healthy", "degraded", "unhealthy", "unknown")


def breakers(found: Iterable[breaker.Breaker]) -> Iterator[core.Metric]:
    """State and calls of each breaker, labelled with whom it guards."""
    state = core.GaugeMetricFamily(
        "basalt_breaker_state", "1 for the state the breaker is in", labels=["peer", "state"]
    )
    calls = core.CounterMetricFamily(
        "basalt_breaker_calls", "Calls by what came of them", labels=["peer", "result"]
    )
    opened = core.CounterMetricFamily(
        "basalt_breaker_opened", "How often the breaker opened", labels=["peer"]
    )
    for one in found:
        seen = one.figures()
        for word in _STATES:
            state.add_metric([seen.name, word], float(seen.state == word))
        calls.add_metric([seen.name, "answered"], seen.calls - seen.failed_calls - seen.in_flight)
        calls.add_metric([seen.name, "failed"], seen.failed_calls)
        calls.add_metric([seen.name, "refused"], seen.refused_calls)
        opened.add_metric([seen.name], seen.opened)
    yield from (state, calls, opened)


def checks_of(found: Iterable[checks.Checks]) -> Iterator[core.Metric]:
    """What the checks found, and how often was healed."""
    health = core.GaugeMetricFamily(
        "basalt_part_health", "1 for how the part is", labels=["part", "health"]
    )
    looked = core.CounterMetricFamily("basalt_part_checks", "Checks made", labels=["part"])
    healed = core.CounterMetricFamily(
        "basalt_part_heal_attempts", "Tries to heal the part", labels=["part"]
    )
    for part in [part for one in found for part in one.report()]:
        for word in _HEALTH:
            health.add_metric([part["part"], word], float(part["state"] == word))
        looked.add_metric([part["part"]], part["check_count"])
        healed.add_metric([part["part"]], part["heal_attempts"])
    yield from (health, looked, healed)


class RequestTimes(registry.Collector):
    """Falcon middleware and collector: how long requests took, by method, route and status."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str, str], list[int]] = {}
        self._seconds: dict[tuple[str, str, str], float] = {}

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        req.context.timed_from = time.monotonic()

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: Any, _ok: bool
    ) -> None:
        took_s = time.monotonic() - req.context.timed_from
        # Only routes there are: what strangers ask for must not make labels.
        key = (req.method, req.uri_template or "(none)", f"{resp.status_code // 100}xx")
        with self._lock:
            counts = self._counts.setdefault(key, [0] * latency.BUCKETS)
            counts[latency.bucket(took_s)] += 1
            self._seconds[key] = self._seconds.get(key, 0.0) + took_s

    def collect(self) -> Iterator[core.Metric]:
        family = core.HistogramMetricFamily(
            "basalt_http_request_duration_seconds",
            "How long requests took",
            labels=["method", "route", "status"],
        )
        with self._lock:
            for key, counts in self._counts.items():
                family.add_metric(key, buckets(counts), self._seconds[key])
        yield family


def buckets(counts: Sequence[int]) -> list[tuple[str, float]]:
    """Counts of ``domain.latency`` as Prometheus has them: cumulated, by upper bound."""
    found, total = [], 0
    whole = latency.total([counts])
    for bound, count in zip((*map(str, latency.BOUNDS_S), "+Inf"), whole, strict=True):
        total += count
        found.append((bound, float(total)))
    return found

"""The storage server's numbers for Prometheus, read when it asks: devices, replicas, copies.

Served at the control port, as /health is; it opens no door: export names are not in it.
"""

from collections.abc import Iterator, Mapping, Sequence

import prometheus_client
from prometheus_client import core, registry

from appliance.protocol import messages

_STATES = ("ok", "failed", "missing", "refused", "new")

Legs = Mapping[tuple[str, str], messages.LegReport]


def render(devices: Sequence[messages.DeviceReport], legs: Legs, heard: bool) -> bytes:
    """``heard``: the MDM answered the last heartbeat."""
    collected = registry.CollectorRegistry()
    prometheus_client.ProcessCollector(registry=collected)
    collected.register(_Server(devices, legs, heard))
    return prometheus_client.generate_latest(collected)


class _Server(registry.Collector):
    def __init__(self, devices: Sequence[messages.DeviceReport], legs: Legs, heard: bool) -> None:
        self._devices = devices
        self._legs = legs
        self._heard = heard

    def collect(self) -> Iterator[core.Metric]:
        yield core.GaugeMetricFamily(
            "basalt_sds_mdm_reachable", "1 while the MDM answers heartbeats", float(self._heard)
        )
        yield from self._of_devices()
        yield from self._of_replicas()
        yield from self._of_copies()

    def _of_devices(self) -> Iterator[core.Metric]:
        capacity = _gauge("basalt_device_capacity_bytes", "Size of the file system", "device")
        free = _gauge("basalt_device_free_bytes", "Free space of the file system", "device")
        sync = _gauge("basalt_device_sync_seconds", "How long a small durable write took", "device")
        state = _gauge("basalt_device_state", "1 for the device's state", "device", "state")
        for device in self._devices:
            capacity.add_metric([device.device_id], device.capacity_bytes)
            free.add_metric([device.device_id], device.free_bytes)
            sync.add_metric([device.device_id], device.sync_s)
            for word in _STATES:
                state.add_metric([device.device_id, word], float(device.state == word))
        yield from (capacity, free, sync, state)

    def _of_replicas(self) -> Iterator[core.Metric]:
        used = _gauge("basalt_replica_used_bytes", "Bytes taken on disk", "volume", "device")
        serving = _gauge("basalt_replica_serving", "1 while it is served", "volume", "device")
        generation = _gauge(
            "basalt_replica_generation", "Its durable generation", "volume", "device"
        )
        for key, leg in self._legs.items():
            used.add_metric(key, leg.used_bytes)
            serving.add_metric(key, float(leg.serving))
            generation.add_metric(key, leg.generation)
        yield from (used, serving, generation)

    def _of_copies(self) -> Iterator[core.Metric]:
        copied = _gauge("basalt_copy_copied_bytes", "Copied so far", "volume", "device")
        total = _gauge("basalt_copy_total_bytes", "To be copied", "volume", "device")
        waiting = _gauge("basalt_copy_waiting", "1 while it waits", "volume", "device")
        for key, leg in self._legs.items():
            if leg.copy is not None:
                copied.add_metric(key, leg.copy.copied_bytes)
                total.add_metric(key, leg.copy.total_bytes)
                waiting.add_metric(key, float(bool(leg.copy.waiting)))
        yield from (copied, total, waiting)


def _gauge(name: str, text: str, *labels: str) -> core.GaugeMetricFamily:
    return core.GaugeMetricFamily(name, text, labels=list(labels))

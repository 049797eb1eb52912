"""The SDS's control port: health, metrics and poke (``agent.control``)."""

from collections.abc import Callable
from typing import Any

import falcon

from appliance.agent import control
from appliance.sds import agent, devices, legs, metrics


def create(
    held_agent: agent.Agent,
    held_devices: devices.Devices,
    held_legs: legs.Legs,
    wake: Callable[[], None],
) -> falcon.App[Any, Any]:
    """The application to serve at the control port."""

    def look() -> tuple[bool, list[str]]:
        return False, [
            f"device {report.device_id} is {report.state}: {report.reason}"
            for report in held_devices.reports()
            if report.state != "ok"
        ]

    def told() -> bytes:
        return metrics.render(held_devices.reports(), held_legs.reports(), not held_agent.trouble)

    return control.create(held_agent, look, told, wake)

"""The SDS's control port: health and poke (``agent.control``)."""

from collections.abc import Callable
from typing import Any

import falcon

from appliance.agent import control
from appliance.sds import agent, devices


def create(
    held_agent: agent.Agent, held_devices: devices.Devices, wake: Callable[[], None]
) -> falcon.App[Any, Any]:
    """The application to serve at the control port."""

    def look() -> tuple[bool, list[str]]:
        return False, [
            f"device {report.device_id} is {report.state}: {report.reason}"
            for report in held_devices.reports()
            if report.state != "ok"
        ]

    return control.create(held_agent, look, wake)

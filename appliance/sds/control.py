"""The SDS's control port: health for anybody, and the MDM's hint to ask for orders now.

A poke carries nothing and orders nothing, so it needs no token; see protocol.messages.
"""

from collections.abc import Callable
from typing import Any

import falcon

from appliance.rest import app as rest_app
from appliance.sds import agent, devices


class Health:
    """``live``: the process answers. ``ready``: it is registered and every device is well."""

    def __init__(self, held_agent: agent.Agent, held_devices: devices.Devices) -> None:
        self._agent = held_agent
        self._devices = held_devices

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """GET /health."""
        reasons = [
            f"device {report.device_id} is {report.state}: {report.reason}"
            for report in self._devices.reports()
            if report.state != "ok"
        ]
        if self._agent.trouble:
            reasons.append(f"no orders from the MDM: {self._agent.trouble}")
        resp.media = {
            "live": True,
            "ready": self._agent.registered,
            "status": "degraded" if reasons else "healthy",
            "reasons": reasons,
        }


class Poke:
    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def on_post(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """POST /poke."""
        self._wake()
        resp.status = falcon.HTTP_204


def create(
    held_agent: agent.Agent, held_devices: devices.Devices, wake: Callable[[], None]
) -> falcon.App[Any, Any]:
    """The application to serve at the control port."""
    application = rest_app.create(quiet=("/health", "/poke"))
    application.add_route("/health", Health(held_agent, held_devices))
    application.add_route("/poke", Poke(wake))
    return application

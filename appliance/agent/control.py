"""An agent's control port: health and metrics for anybody, the MDM's hint to ask for orders.

A poke carries nothing and orders nothing, so it needs no token; see protocol.messages.
"""

from collections.abc import Callable, Iterable
from typing import Any

import falcon
import prometheus_client

from appliance.agent import talk
from appliance.rest import app as rest_app

#: What is wrong, a sentence each, and whether a user is hurt by it.
Look = Callable[[], tuple[bool, list[str]]]


class Health:
    """``live``: the process answers. ``ready``: it is registered."""

    def __init__(self, held: talk.Talk, look: Look) -> None:
        self._talk = held
        self._look = look

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """GET /health."""
        hurt, reasons = self._look()
        if self._talk.trouble:
            reasons = [*reasons, f"no orders from the MDM: {self._talk.trouble}"]
        resp.media = {
            "live": True,
            "ready": self._talk.registered,
            "status": "unhealthy" if hurt else "degraded" if reasons else "healthy",
            "reasons": reasons,
        }


class Metrics:
    def __init__(self, told: Callable[[], bytes]) -> None:
        self._told = told

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """GET /metrics, as Prometheus reads them."""
        resp.content_type = prometheus_client.CONTENT_TYPE_LATEST
        resp.data = self._told()


class Poke:
    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def on_post(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """POST /poke."""
        self._wake()
        resp.status = falcon.HTTP_204


def create(
    held: talk.Talk,
    look: Look,
    told: Callable[[], bytes],
    wake: Callable[[], None],
    quiet: Iterable[str] = (),
) -> falcon.App[Any, Any]:
    """The application to serve at the control port; ``told`` are its metrics. A role adds its own
    routes, ``quiet`` ones are not logged."""
    application = rest_app.create(quiet=("/health", "/metrics", "/poke", *quiet))
    application.add_route("/health", Health(held, look))
    application.add_route("/metrics", Metrics(told))
    application.add_route("/poke", Poke(wake))
    return application

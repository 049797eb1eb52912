"""How answers look: created things have a Location, background work has a job."""

from collections.abc import Mapping
from typing import Any

import falcon

from appliance.mdm.services import auth


def actor(req: falcon.Request) -> str:
    """Who asks, as events name them."""
    identity: auth.Identity = req.context.identity
    return identity.actor


def created(resp: falcon.Response, location: str, value: Mapping[str, Any]) -> None:
    """201 with the new object."""
    resp.status = falcon.HTTP_201
    resp.location = location
    resp.media = value


def gone(resp: falcon.Response, job: str | None) -> None:
    """204, or 202 with the job that goes on."""
    if job is None:
        resp.status = falcon.HTTP_204
    else:
        resp.status = falcon.HTTP_202
        resp.media = {"job": job}

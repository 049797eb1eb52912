"""What the MDM finds at the agents' control ports, and what it does about it."""

import falcon
import pytest
from sqlalchemy import update

from appliance.mdm.db import models
from appliance.mdm.services import figures, peers
from appliance.rest import app as rest_app
from appliance.rest import checks, server


class Control:
    """An agent's control port that answers; its pokes are counted and change nothing."""

    def __init__(self):
        self.pokes = 0
        application = rest_app.create()
        application.add_route("/health", self)
        application.add_route("/poke", self)
        self._server = server.serve(application, "127.0.0.1", 0, 2)
        self.port = self._server.port

    def on_get(self, _req, resp):
        resp.media = {"reasons": ["the MDM is not reached"]}

    def on_post(self, _req, resp):
        self.pokes += 1
        resp.status = falcon.HTTP_204

    def close(self):
        self._server.close()


@pytest.fixture
def control():
    made = Control()
    yield made
    made.close()


def test_an_agent_without_heartbeats_is_poked_up_to_the_limit_and_that_is_told(site, control):
    ident = site.sds("sds1")
    with site.ctx.uow.write("test") as tx:
        tx.session.execute(update(models.Sds).values(control_port=control.port))
    site.heard(ident)
    asked = peers.Peers(site.ctx)
    asked.run_once()
    assert control.pokes == 0
    for _ in range(20):
        site.clock.advance(120)
        asked.run_once()
    assert control.pokes == checks.HEAL_LIMIT
    told = figures.health_metrics(figures.read(site.ctx), asked.all())
    (found,) = told["given_up"]
    assert (found["part"], found["attempts"]) == ("sds sds1", checks.HEAL_LIMIT)
    assert "it answers, but sends no heartbeat: the MDM is not reached" in found["why"]
    site.heard(ident)
    asked.run_once()
    assert figures.health_metrics(figures.read(site.ctx), asked.all())["given_up"] == []
    asked.close()

"""A replica whose device is full: it leaves at once, and waits for room to come back."""

from appliance.mdm.services import rejoins, volume_views
from tests.fakes import simulated_agents


def test_a_full_device_stays_away_until_it_has_room(cluster):
    volume = cluster.mapped()
    cluster.sds[0].free = 0
    plugin = cluster.sdcs[0].plugin()
    plugin.status = type(plugin.status)(
        plugin.status.incarnation, 2, plugin.status.version, 2, full=(cluster.device(0),)
    )
    cluster.until(lambda: cluster.map_of().generation == 3)
    assert cluster.states(volume)["sds1"] == {"stale"}
    assert cluster.events("replica_full") == [{"device": cluster.device(0)}]
    reason = volume_views.get(cluster.ctx, volume)["reason"]
    assert reason.endswith("sds1 is stale (waits for room on /srv/sds1)")
    cluster.steps(60)  # its space is heard of
    cluster.clock.advance(rejoins.LIMIT_S)
    cluster.steps(60)
    assert cluster.row(volume).generation == 3  # to join, refuse and leave would be for nothing
    cluster.sds[0].free = simulated_agents.GIB
    cluster.until(lambda: cluster.map_states()["sds1"] == {"syncing"})
    assert cluster.row(volume).generation == 4


def test_a_full_device_that_left_for_another_reason_comes_back(cluster):
    volume = cluster.mapped()
    cluster.sds[0].free = 0  # what has its blocks is written all the same
    cluster.sds[0].silent = True
    cluster.until(lambda: cluster.states(volume)["sds1"] == {"stale"})
    cluster.sds[0].silent = False
    cluster.until(lambda: cluster.map_states()["sds1"] == {"syncing"})

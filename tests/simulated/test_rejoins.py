"""How long a replica that left waits, and where people see it."""

from appliance.mdm.services import overview, rejoins, volume_views


def test_the_wait_grows_to_a_minute_and_no_further():
    waits, now, seen = rejoins.Rejoins(), 0.0, []
    for _ in range(9):
        waits.left("v", "d", now)
        seen.append(waits.wait_s("v", "d", now))
        now += seen[-1] + 5  # it comes back, and leaves again
    assert seen == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_one_that_stayed_for_a_minute_begins_anew():
    waits = rejoins.Rejoins()
    for now in (0.0, 2.0, 5.0):
        waits.left("v", "d", now)
    assert waits.wait_s("v", "d", 5.0) == 4
    waits.left("v", "d", 9.0 + rejoins.SOON_S)
    assert waits.wait_s("v", "d", 9.0 + rejoins.SOON_S) == 1


def test_status_says_which_replica_is_tried_again_and_when(cluster):
    volume = cluster.mapped()
    plugin = cluster.sdcs[0].plugin()
    for _ in range(3):
        plugin.miss(cluster.device(1))
        cluster.until(lambda: cluster.states(volume)["sds2"] == {"stale"})
        reason = volume_views.get(cluster.ctx, volume)["reason"]
        cluster.until(lambda: cluster.map_states()["sds2"] == {"syncing"})
    assert reason == "1 column with one copy only: sds2 is stale (tried again in 4 s)"
    plugin.miss(cluster.device(1))
    cluster.until(lambda: cluster.states(volume)["sds2"] == {"stale"})
    (problem,) = overview.status(cluster.ctx)["problems"]
    assert problem["message"].endswith("sds2 is stale (tried again in 8 s)")
    assert problem["what_to_do"] == "wait: what is stale is tried again by itself"


def test_of_one_whose_sds_is_down_the_sds_is_told(cluster):
    volume = cluster.mapped()
    cluster.sds[1].silent = True
    cluster.until(lambda: cluster.states(volume)["sds2"] == {"stale"})
    cluster.steps(40)
    reason = volume_views.get(cluster.ctx, volume)["reason"]
    assert reason == "1 column with one copy only: sds2 is down"

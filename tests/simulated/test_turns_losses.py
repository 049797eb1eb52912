"""Turns after something was lost: a cache, files, a device. Who may be kept, who never comes back,
and a volume that waits for the one that has everything (R4, R5, R7)."""

from dataclasses import replace

from sqlalchemy import select

from appliance.mdm.db import models


def test_a_blocked_turn_says_whom_to_bring_back_and_goes_on_when_it_seals(cluster):
    volume = cluster.mapped()
    cluster.sds[0].silent = True
    cluster.until(lambda: cluster.map_states()["sds1"] == {"stale"})
    cluster.sds[1].silent = True
    cluster.sds[0].silent = False
    cluster.until(lambda: bool(cluster.events("turn_blocked")))
    assert cluster.events("turn_blocked") == [{"bring_back": ["sds2:/srv/sds2"]}]
    cluster.steps(100)
    assert cluster.row(volume).turn_open
    assert cluster.states(volume)["sds2"] == {"in_sync"}
    assert len(cluster.events("turn_blocked")) == 1
    cluster.sds[1].silent = False
    cluster.until(lambda: cluster.map_states() == {"sds1": {"syncing"}, "sds2": {"in_sync"}})


def test_a_rebooted_survivor_does_not_replace_one_that_kept_its_cache(cluster):
    volume = cluster.mapped()
    cluster.sds[0].silent = True  # well, but cut off from the MDM
    cluster.sds[1].reboot()
    cluster.until(lambda: bool(cluster.events("turn_blocked")))
    cluster.steps(50)
    assert cluster.states(volume) == {"sds1": {"in_sync"}, "sds2": {"in_sync"}}
    assert cluster.events("turn_blocked") == [{"bring_back": ["sds1:/srv/sds1"]}]
    cluster.sds[0].silent = False
    cluster.until(lambda: cluster.map_of().generation > 2)
    assert cluster.map_states() == {"sds1": {"in_sync"}, "sds2": {"syncing"}}
    assert cluster.map_of().lost_generation == 0


def test_when_every_copy_lost_its_cache_the_map_says_so(cluster):
    volume = cluster.mapped()
    for agent in cluster.sds:
        agent.reboot()
    cluster.until(lambda: cluster.map_of().generation > 2)
    assert cluster.map_of().lost_generation == cluster.map_of().generation
    assert sorted(cluster.states(volume).values(), key=str) == [{"in_sync"}, {"syncing"}]


def test_a_server_that_dies_in_the_turn_after_its_seal_counts_no_more(cluster):
    volume = cluster.mapped()
    cluster.sds[1].silent = True  # it holds everything, in a cache that lives
    cluster.sds[0].stop_servers()
    cluster.until(lambda: bool(cluster.sds[0].leg(volume).server))
    cluster.exchange(cluster.sds[0])
    assert cluster.row(volume).turn_open
    cluster.sds[0].reboot()  # sealed, with its cache; now without
    cluster.until(lambda: bool(cluster.events("turn_blocked")))
    assert cluster.states(volume) == {"sds1": {"in_sync"}, "sds2": {"in_sync"}}
    cluster.sds[1].silent = False
    cluster.until(lambda: not cluster.row(volume).turn_open)
    assert cluster.states(volume) == {"sds1": {"syncing"}, "sds2": {"in_sync"}}


def test_a_turn_in_which_everybody_sealed_and_then_died_begins_anew(cluster):
    volume = cluster.mapped()
    for agent in cluster.sds:
        agent.stop_servers()
    cluster.exchange(cluster.sds[0])
    agent = cluster.sds[1]  # the other did it in the exchange; neither came to say so
    agent.take(agent.beat(), cluster.beats.sds(agent.id, replace(agent.beat(), legs=())))
    assert all(agent.leg(volume).generation == 3 for agent in cluster.sds)
    for agent in cluster.sds:
        agent.reboot()
    cluster.until(lambda: cluster.map_of().generation > 3)
    assert not cluster.row(volume).turn_open


def test_a_device_that_fails_is_taken_out_and_never_comes_back(cluster):
    volume = cluster.mapped()
    cluster.sds[1].fail_device(cluster.device(1))
    cluster.until(lambda: cluster.map_states()["sds2"] == {"stale"})
    cluster.sds[1].failed.clear()
    cluster.steps(60)
    assert cluster.states(volume) == {"sds1": {"in_sync"}, "sds2": {"stale"}}


def test_a_device_a_client_s_flush_failed_on_is_taken_out_the_first_time(cluster):
    volume = cluster.mapped()
    plugin = cluster.sdcs[0].plugin()
    plugin.status = type(plugin.status)(
        plugin.status.incarnation, 2, plugin.status.version, 2, failed=(cluster.device(0),)
    )
    cluster.until(lambda: cluster.map_of().generation == 3)
    assert cluster.states(volume) == {"sds1": {"stale"}, "sds2": {"in_sync"}}
    with cluster.ctx.uow.read() as tx:
        states = dict(tx.session.execute(select(models.Device.id, models.Device.state)).all())
    assert states[cluster.device(0)] == "failed"


def test_a_device_that_is_full_leaves_the_first_time_and_may_come_back(cluster):
    volume = cluster.mapped()
    plugin = cluster.sdcs[0].plugin()
    plugin.status = type(plugin.status)(
        plugin.status.incarnation, 2, plugin.status.version, 2, full=(cluster.device(0),)
    )
    cluster.until(lambda: cluster.map_of().generation == 3)
    assert cluster.states(volume)["sds1"] == {"stale"}
    cluster.until(lambda: cluster.map_states()["sds1"] == {"syncing"})


def test_files_made_anew_are_never_taken_for_the_data(cluster):
    volume = cluster.mapped()
    agent = cluster.sds[1]
    leg = agent.leg(volume)
    # Somebody made a new file system: the agent finds nothing, and makes zeroes as ordered.
    agent.reboot()
    leg.generation = leg.created = leg.size = 0
    leg.intents = frozenset()
    cluster.until(lambda: cluster.map_of().generation > 2)
    cluster.until(lambda: cluster.map_states()["sds2"] == {"syncing"})
    assert cluster.states(volume)["sds1"] == {"in_sync"}
    assert all(column.full for column in leg.copy_order.columns)
    agent.finish_copies()
    cluster.until(lambda: cluster.all_in_sync(volume))


def test_the_last_copy_s_files_made_anew_leave_the_volume_waiting(cluster):
    volume = cluster.mapped()
    cluster.sds[0].silent = True
    cluster.until(lambda: cluster.map_states()["sds1"] == {"stale"})
    leg = cluster.sds[1].leg(volume)
    cluster.sds[1].reboot()
    leg.generation = leg.created = 0
    cluster.sds[0].silent = False
    cluster.until(lambda: bool(cluster.events("turn_blocked")))
    cluster.steps(50)
    assert cluster.row(volume).turn_open
    assert cluster.events("replica_files_lost")

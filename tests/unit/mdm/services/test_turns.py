"""Turns over the real services: who stays, when a map is handed out, what a restart means."""

from dataclasses import replace

from sqlalchemy import select

from appliance.domain import model
from appliance.mdm import bodies
from appliance.mdm.db import models
from appliance.mdm.services import orders, turns, volumes

EFFECTIVE_S = model.PULSE_S + model.PULSE_MARGIN_S


def test_a_map_makes_a_turn_and_names_only_servers_of_its_generation(cluster):
    volume = cluster.mapped()
    seen = cluster.map_of()
    assert seen.generation == cluster.row(volume).generation == 2
    assert seen.all_in_sync
    for agent in cluster.sds:
        leg = agent.leg(volume)
        assert leg.generation == 2
        assert seen.leg(leg.device_id).data_export == leg.server
        assert seen.leg(leg.device_id).intent_export.startswith(leg.server)


def test_no_map_is_handed_out_while_the_turn_is_open(cluster):
    cluster.sds[1].sealing = False
    volume = cluster.create()
    cluster.map(volume)
    cluster.steps(10)
    assert cluster.row(volume).turn_open
    assert not cluster.sdcs[0].maps


def test_an_sds_host_that_falls_silent_is_taken_out(cluster):
    volume = cluster.mapped()
    cluster.sds[1].silent = True
    took = cluster.until(lambda: cluster.states(volume).get("sds2") == {"stale"})
    cluster.until(lambda: cluster.map_of().generation == 3)
    assert cluster.states(volume)["sds1"] == {"in_sync"}
    assert took < 5.5  # of the clock moved by hand: heartbeats missed, and one sweep
    assert [leg.sds_name for leg in cluster.map_of().legs] == ["sds1"]


def test_a_device_that_does_not_answer_is_not_waited_for_longer_than_the_limit(cluster):
    volume = cluster.mapped()
    cluster.sds[1].silent = True
    cluster.sdcs[0].plugin().suspect(cluster.device(1))
    cluster.step()
    began = cluster.clock.now
    cluster.until(lambda: cluster.states(volume)["sds2"] == {"stale"})
    assert abs(cluster.clock.now - began - turns.SEAL_LIMIT_S) < 0.25


def test_the_one_that_comes_back_joins_as_syncing_and_is_promoted_by_its_copy(cluster):
    volume = cluster.mapped(columns=2)
    lost = cluster.sds[1]
    lost.silent = True
    cluster.until(lambda: cluster.states(volume)["sds2"] == {"stale"})
    lost.silent = False
    lost.reboot()
    cluster.until(lambda: cluster.map_states()["sds2"] == {"syncing"})
    copy = lost.leg(volume).copy_order
    assert {c.column for c in copy.columns} == {0, 1}
    assert not any(c.full for c in copy.columns)
    assert {c.source.sds_name for c in copy.columns} == {"sds1"}
    assert [c.incarnation for c in copy.clients] == [cluster.sdcs[0].plugin().status.incarnation]
    assert set(copy.columns[0].source_intents) == {copy.clients[0].incarnation}
    lost.finish_copies()
    cluster.until(lambda: cluster.map_of().all_in_sync)
    assert cluster.all_in_sync(volume)


def test_a_volume_is_writable_throughout_a_rejoin(cluster):
    volume = cluster.mapped()
    cluster.sds[1].silent = True
    cluster.until(lambda: cluster.states(volume)["sds2"] == {"stale"})
    cluster.sds[1].silent = False
    cluster.until(lambda: cluster.states(volume)["sds2"] == {"syncing"})
    assert cluster.states(volume)["sds1"] == {"in_sync"}


def test_a_suspect_that_seals_stays_the_first_time_and_goes_the_second(cluster):
    volume = cluster.mapped()
    for generation, states in ((3, "in_sync"), (4, "stale")):
        cluster.sdcs[0].plugin().suspect(cluster.device(1))
        cluster.until(lambda g=generation: cluster.map_of().generation == g)
        assert cluster.states(volume)["sds2"] == {states}


def test_a_suspect_is_kept_again_after_a_quiet_minute(cluster):
    volume = cluster.mapped()
    cluster.sdcs[0].plugin().suspect(cluster.device(1))
    cluster.until(lambda: cluster.map_of().generation == 3)
    cluster.clock.advance(turns.SUSPECT_AGAIN_S)
    cluster.steps(3)
    cluster.sdcs[0].plugin().suspect(cluster.device(1))
    cluster.until(lambda: cluster.map_of().generation >= 4)
    assert cluster.states(volume)["sds2"] == {"in_sync"}


def test_blame_for_an_older_generation_is_not_listened_to(cluster):
    volume = cluster.mapped()
    plugin = cluster.sdcs[0].plugin()
    cluster.sds[0].stop_servers()
    cluster.until(lambda: cluster.map_of().generation == 3)
    late = plugin.status
    plugin.status = type(late)(late.incarnation, 2, late.version, 2, suspects=(cluster.device(1),))
    cluster.steps(3)
    assert cluster.row(volume).generation == 3


def test_the_wait_before_a_replica_comes_back_doubles_each_time_it_leaves(cluster):
    volume = cluster.mapped()
    plugin = cluster.sdcs[0].plugin()
    waits = []
    for _ in range(4):
        # The link between this client and this SDS is broken; the MDM hears both well.
        plugin.suspect(cluster.device(1))
        cluster.until(lambda: cluster.map_states()["sds2"] != {"stale"} or _suspected(plugin))
        cluster.until(lambda: _drop(cluster, volume, plugin))
        waits.append(cluster.until(lambda: cluster.map_states()["sds2"] == {"syncing"}, 30))
    firsts = [waits[0], waits[1] / 2, waits[2] / 4, waits[3] / 8]
    assert all(abs(wait - turns.REJOIN_FIRST_S) < 1.5 for wait in firsts), waits
    assert waits[3] > 3 * waits[1]


def _suspected(plugin):
    return bool(plugin.status.suspects)


def _drop(cluster, volume, plugin):
    if cluster.states(volume)["sds2"] == {"stale"}:
        return True
    if not plugin.status.suspects and not cluster.row(volume).turn_open:
        plugin.suspect(cluster.device(1))
    return False


def test_a_joiner_that_cannot_seal_does_not_make_a_storm_of_turns(cluster):
    volume = cluster.mapped()
    cluster.sds[1].silent = True
    cluster.until(lambda: cluster.states(volume)["sds2"] == {"stale"})
    cluster.sds[1].silent = False
    cluster.sds[1].sealing = False
    before = cluster.row(volume).generation
    cluster.steps(200)
    assert cluster.row(volume).generation - before <= 5  # 1, 2, 4 … seconds apart


def test_effective_waits_for_the_pulse_of_a_client_that_does_not_answer(new_cluster):
    cluster = new_cluster(sdcs=2)
    volume = cluster.mapped(shareable=True)
    cluster.map(volume, sdc=1)
    cluster.until(lambda: bool(cluster.sdcs[1].maps) and cluster.map_of(0).generation == 3)
    cluster.sds[1].silent = True
    cluster.sdcs[0].silent = True
    cluster.until(lambda: cluster.sds[0].leg(volume).generation == 4)
    sealed = cluster.clock.now
    cluster.until(lambda: cluster.states(volume)["sds2"] == {"stale"})
    with cluster.ctx.uow.read() as tx:
        (order,) = orders.for_sdc(tx, cluster.sdcs[1].id).mappings
    assert (order.open_generation, order.map) == (4, None)  # decided, and known to nobody
    cluster.until(lambda: not cluster.row(volume).turn_open)
    assert cluster.clock.now - sealed >= EFFECTIVE_S - 0.15


def test_effective_does_not_wait_once_every_client_left(cluster):
    volume = cluster.mapped()
    cluster.sds[1].silent = True
    cluster.until(lambda: cluster.row(volume).turn_open)
    began = cluster.clock.now
    cluster.until(lambda: not cluster.row(volume).turn_open)
    assert cluster.clock.now - began < 0.5


def test_a_client_that_left_before_the_turn_began_is_not_waited_for(cluster):
    volume = cluster.mapped()
    plugin = cluster.sdcs[0].plugin()
    plugin.leave(2)  # as a plugin does when a write is not acknowledged
    plugin.suspect(cluster.device(1))
    cluster.step()
    cluster.sdcs[0].silent = True  # it says nothing that it has not said already
    cluster.sds[1].silent = True
    began = cluster.clock.now
    cluster.until(lambda: not cluster.row(volume).turn_open)
    assert cluster.clock.now - began < turns.SEAL_LIMIT_S + 0.3


def test_a_client_being_cut_off_is_waited_for_even_by_the_mdm_s_successor(cluster):
    volume = cluster.mapped()
    cluster.sds[1].silent = True  # cut off from the MDM; the client reads it all the same
    cluster.sdcs[0].silent = True
    cluster.until(lambda: cluster.row(volume).turn_open)
    cluster.clock.advance(5.0)
    cluster.unmap(volume, force=True)
    # The turn decides, and before it is effective the MDM dies.
    cluster.until(lambda: cluster.incarnations(volume) == ["retiring"])
    cluster.restart()
    cluster.until(lambda: cluster.sds[0].leg(volume).generation == cluster.row(volume).generation)
    began = cluster.clock.now
    cluster.until(lambda: not cluster.row(volume).turn_open)
    assert cluster.clock.now - began >= EFFECTIVE_S - 0.25


def test_a_turn_open_at_the_mdm_s_restart_begins_anew_and_earlier_seals_do_not_count(cluster):
    volume = cluster.mapped()
    cluster.sds[1].sealing = False
    cluster.sds[0].stop_servers()
    cluster.until(lambda: cluster.sds[0].leg(volume).generation == 3)
    assert cluster.row(volume).turn_open
    cluster.restart()
    cluster.sds[1].sealing = True
    cluster.sds[0].sealing = False
    cluster.steps(8)
    assert cluster.row(volume).generation == 4
    assert cluster.row(volume).turn_open  # sds1 sealed 3, which is nothing now
    cluster.sds[0].sealing = True
    cluster.until(lambda: cluster.map_of().generation == cluster.row(volume).generation)
    assert cluster.map_of().generation >= 4


def test_after_a_restart_the_mdm_waits_for_the_pulse_anew(cluster):
    volume = cluster.mapped()
    cluster.sdcs[0].plugin().deaf = True
    cluster.sds[0].stop_servers()
    cluster.exchange(cluster.sds[0])
    assert cluster.row(volume).turn_open
    cluster.restart()
    cluster.until(
        lambda: all(a.leg(volume).generation == cluster.row(volume).generation for a in cluster.sds)
    )
    sealed = cluster.clock.now
    cluster.until(lambda: not cluster.row(volume).turn_open)
    # Every replica sealed, but a map older than the database's columns may be in use.
    assert cluster.clock.now - sealed >= EFFECTIVE_S - 0.25


def test_a_restart_of_the_mdm_alone_makes_no_turn(cluster):
    volume = cluster.mapped()
    cluster.restart()
    cluster.steps(30)
    assert cluster.row(volume).generation == 2
    assert cluster.all_in_sync(volume)


def test_an_agent_not_heard_yet_after_a_restart_is_not_dropped(cluster):
    volume = cluster.mapped()
    cluster.restart()
    cluster.sds[1].silent = True  # for as long as the grace allows
    cluster.steps(40)
    assert cluster.all_in_sync(volume)
    cluster.sds[1].silent = False
    cluster.steps(5)
    assert cluster.row(volume).generation == 2


def test_an_open_turn_at_a_restart_waits_for_an_agent_not_heard_yet(cluster):
    volume = cluster.mapped()
    cluster.sds[0].sealing = cluster.sds[1].sealing = False
    cluster.sds[0].stop_servers()
    cluster.exchange(cluster.sds[0])
    cluster.restart()
    cluster.sds[0].sealing = cluster.sds[1].sealing = True
    for _ in range(8):
        cluster.clock.advance(0.1)
        cluster.exchange(cluster.sds[0])
        cluster.rounds.run_once()
    assert cluster.row(volume).turn_open
    cluster.until(lambda: not cluster.row(volume).turn_open)
    assert cluster.all_in_sync(volume)


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


def test_a_device_that_sealed_and_does_not_serve_is_not_in_the_map(cluster):
    volume = cluster.mapped()
    cluster.sds[1].starting = False
    cluster.sdcs[0].plugin().suspect(cluster.device(0))
    cluster.until(lambda: cluster.map_of().generation == 3)
    assert cluster.states(volume) == {"sds1": {"in_sync"}, "sds2": {"stale"}}


def test_a_new_client_during_an_open_turn_begins_it_anew_with_its_intent_file(new_cluster):
    cluster = new_cluster(sdcs=2)
    volume = cluster.mapped(shareable=True)
    cluster.sds[1].sealing = False
    cluster.sds[0].stop_servers()
    cluster.until(lambda: cluster.row(volume).turn_open)
    cluster.map(volume, sdc=1)
    cluster.until(lambda: cluster.row(volume).generation == 4)
    cluster.sds[1].sealing = True
    cluster.until(lambda: bool(cluster.sdcs[1].maps))
    assert cluster.map_of(1).generation == 4
    assert [event["generation"] for event in cluster.events("turn_over")] == [2, 4]
    second = cluster.sdcs[1].plugin().status.incarnation
    assert all(second in agent.leg(volume).intents for agent in cluster.sds)
    cluster.until(lambda: cluster.map_of(0).generation == 4)
    assert cluster.map_of(1).shared


def test_a_seal_without_the_newcomer_s_intent_file_does_not_count(cluster):
    volume = cluster.create()
    cluster.map(volume)
    cluster.until(lambda: bool(cluster.sds[0].legs) and cluster.sds[0].leg(volume).generation == 2)
    cluster.sds[0].leg(volume).intents = frozenset()  # made, and not durable after all
    cluster.exchange(cluster.sds[0])
    cluster.exchange(cluster.sds[1])
    assert cluster.row(volume).turn_open
    assert not cluster.sdcs[0].maps


def test_two_volumes_turn_at_once_and_apart(cluster):
    one = cluster.create("one")
    two = cluster.create("two")
    cluster.map(one)
    cluster.map(two)
    cluster.until(lambda: len(cluster.sdcs[0].maps) >= 2)
    cluster.sds[0].silent = True
    cluster.until(lambda: all(cluster.states(volume)["sds1"] == {"stale"} for volume in (one, two)))
    cluster.until(lambda: all(p.map.generation == 3 for p in cluster.sdcs[0].plugins.values()))
    assert {p.map.volume_id for p in cluster.sdcs[0].plugins.values()} == {one, two}
    cluster.sds[0].silent = False
    cluster.until(lambda: all(cluster.states(v)["sds1"] == {"syncing"} for v in (one, two)))


def test_growth_is_a_turn_and_the_new_size_comes_with_its_map(cluster):
    volume = cluster.mapped()
    size = 128 << 20
    volumes.update(cluster.ctx, "test", volume, bodies.VolumeChange(size_bytes=size))
    cluster.until(lambda: cluster.map_of().generation == 3)
    assert cluster.map_of().size == size
    assert {agent.leg(volume).size for agent in cluster.sds} == {size}
    cluster.steps(30)
    assert cluster.row(volume).generation == 3


def test_growth_while_one_copy_is_away_does_not_turn_for_ever(cluster):
    volume = cluster.mapped()
    cluster.sds[1].silent = True
    cluster.until(lambda: cluster.map_states()["sds2"] == {"stale"})
    cluster.sds[1].silent = False
    cluster.sds[1].sealing = False
    volumes.update(cluster.ctx, "test", volume, bodies.VolumeChange(size_bytes=128 << 20))
    before = cluster.row(volume).generation
    cluster.steps(150)
    assert cluster.row(volume).generation - before <= 5


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

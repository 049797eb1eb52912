"""What a volume goes through between turns: doubt, copies, retired intent files, idle servers."""

from dataclasses import replace

from sqlalchemy import select

from appliance.mdm.db import models
from appliance.mdm.services import clients, volumes
from appliance.protocol import messages
from tests.fakes import simulated_agents


def _retire_all(cluster, volume):
    cluster.until(lambda: cluster.incarnations(volume) in ([], ["live"]))


def test_an_unclean_end_is_a_turn_with_one_keeper_and_its_marks_are_kept(cluster):
    volume = cluster.mapped()
    first = cluster.sdcs[0].plugin().status.incarnation
    cluster.sdcs[0].crash_plugins()
    cluster.until(lambda: cluster.sdcs[0].plugin().map is not None)
    assert sorted(cluster.map_states().values(), key=str) == [{"in_sync"}, {"syncing"}]
    assert cluster.incarnations(volume) == ["live", "retiring"]
    cluster.until(lambda: any(a.leg(volume).copy_order for a in cluster.sds))
    target = next(a for a in cluster.sds if a.leg(volume).copy_order)
    assert first in target.leg(volume).copy_order.columns[0].source_intents
    assert all(first in agent.leg(volume).intents for agent in cluster.sds)
    target.finish_copies()
    cluster.until(lambda: cluster.map_of().all_in_sync)
    _retire_all(cluster, volume)
    cluster.steps(2)
    assert not any(first in agent.leg(volume).intents for agent in cluster.sds)


def test_a_seal_in_doubt_counts_only_once_it_is_flushed(cluster):
    volume = cluster.mapped()
    cluster.sds[0].flushing = cluster.sds[1].flushing = False
    cluster.sdcs[0].crash_plugins()
    cluster.until(lambda: all(a.leg(volume).generation == 3 for a in cluster.sds))
    cluster.steps(3)
    assert cluster.row(volume).turn_open
    for agent in cluster.sds:
        agent.leg(volume).flushed = True
    cluster.until(lambda: not cluster.row(volume).turn_open, 0.5)


def test_doubt_that_arises_in_an_open_turn_begins_it_anew(cluster):
    volume = cluster.mapped()
    cluster.sds[1].sealing = False
    cluster.sds[0].stop_servers()
    cluster.until(lambda: cluster.sds[0].leg(volume).generation == 3)
    _end_without_a_word(cluster, volume)
    assert cluster.row(volume).generation == 4
    cluster.sds[1].sealing = True
    cluster.until(lambda: not cluster.row(volume).turn_open)
    assert sorted(cluster.states(volume).values(), key=str) == [{"in_sync"}, {"syncing"}]


def _end_without_a_word(cluster, volume):
    """The client is told to unmap, and its agent finds nothing of the plugin."""
    plugin = cluster.sdcs[0].plugin()
    cluster.unmap(volume)
    plugin.gone = True
    plugin.status = type(plugin.status)("")
    cluster.exchange(cluster.sdcs[0])


def test_intent_files_stay_until_every_replica_is_synced(cluster):
    volume = cluster.mapped()
    gone = cluster.sdcs[0].plugin().status.incarnation
    cluster.unmap(volume)
    cluster.until(lambda: cluster.incarnations(volume) == ["clean"])
    cluster.sds[1].silent = True
    cluster.steps(30)
    assert cluster.incarnations(volume) == ["clean"]
    assert gone in cluster.sds[0].leg(volume).intents
    cluster.sds[1].silent = False
    cluster.until(lambda: not cluster.incarnations(volume))
    cluster.until(lambda: not any(agent.leg(volume).intents for agent in cluster.sds))


def test_intent_files_of_a_clean_end_stay_while_a_copy_is_away(cluster):
    volume = cluster.mapped()
    cluster.sds[1].silent = True
    cluster.until(lambda: cluster.map_states()["sds2"] == {"stale"})
    cluster.unmap(volume)
    cluster.until(lambda: not cluster.row(volume).mappings)
    cluster.steps(30)
    assert cluster.incarnations(volume) == ["clean"]
    cluster.sds[1].silent = False
    cluster.until(lambda: cluster.sds[1].leg(volume).copy_order is not None)
    order = cluster.sds[1].leg(volume).copy_order
    assert order.columns[0].source_intents  # the delta is made of them
    assert not order.clients
    cluster.sds[1].finish_copies()
    cluster.until(lambda: cluster.all_in_sync(volume) and not cluster.incarnations(volume))


def test_a_clean_unmap_stops_the_servers_and_leaves_nothing(cluster):
    volume = cluster.mapped()
    cluster.unmap(volume)
    cluster.until(lambda: simulated_agents.serving(cluster.sds) == 0)
    cluster.until(lambda: not cluster.incarnations(volume))
    assert not cluster.row(volume).mappings
    assert not cluster.sdcs[0].plugins
    assert cluster.row(volume).generation == 2  # and no turn for it
    cluster.map(volume)
    cluster.until(lambda: bool(cluster.sdcs[0].plugins) and _has_map(cluster))
    assert cluster.map_of().generation == 3
    assert cluster.map_of().all_in_sync


def _has_map(cluster):
    return cluster.sdcs[0].plugin().map is not None


def test_an_unmap_without_a_word_from_the_plugin_is_in_doubt(cluster):
    volume = cluster.mapped()
    _end_without_a_word(cluster, volume)
    cluster.until(lambda: cluster.incarnations(volume) == ["retiring"])
    assert sorted(cluster.states(volume).values(), key=str) == [{"in_sync"}, {"syncing"}]


def test_force_cuts_off_a_client_that_is_not_heard(new_cluster):
    cluster = new_cluster(sdcs=2)
    volume = cluster.mapped()
    cluster.sdcs[0].silent = True
    cluster.clock.advance(10)
    for agent in (*cluster.sds, cluster.sdcs[1]):
        cluster.exchange(agent)
    cluster.unmap(volume, force=True)
    cluster.until(lambda: cluster.incarnations(volume) == ["retiring"])
    assert not cluster.row(volume).mappings
    cluster.map(volume, sdc=1)
    cluster.until(lambda: bool(cluster.sdcs[1].maps))
    assert cluster.map_of(1).generation > 3
    cluster.sdcs[0].silent = False
    cluster.steps(2)
    assert not cluster.sdcs[0].plugins


def test_force_cuts_off_a_client_that_dies_before_it_obeys(new_cluster):
    """Its host went a moment before: for the MDM it still answered when people asked."""
    cluster = new_cluster(sdcs=2)
    volume = cluster.mapped()
    cluster.sdcs[0].silent = True
    cluster.unmap(volume, force=True)
    assert cluster.row(volume).mappings
    waited_s = cluster.until(lambda: not cluster.row(volume).mappings)
    assert waited_s < clients.FORCE_WAIT_S + 0.2, "it waits until the client counts as silent"
    cluster.until(lambda: cluster.incarnations(volume) == ["retiring"])
    cluster.map(volume, sdc=1)
    cluster.until(lambda: bool(cluster.sdcs[1].maps))


def test_force_waits_for_a_client_that_heard_of_it(new_cluster):
    """Its device takes a while to let go: it is not cut off for that."""
    cluster = new_cluster(sdcs=2)
    volume = cluster.mapped()
    cluster.clock.advance(0.05)
    cluster.unmap(volume, force=True)
    cluster.clock.advance(0.05)
    beat = cluster.sdcs[0].beat()
    cluster.beats.sdc(cluster.sdcs[0].id, beat)  # it hears the order, and is slow to obey
    cluster.clock.advance(2 * clients.FORCE_WAIT_S)
    cluster.rounds.run_once()
    assert cluster.row(volume).mappings
    assert cluster.incarnations(volume) == ["live"]


def test_without_force_a_silent_client_is_waited_for(cluster):
    volume = cluster.mapped()
    cluster.sdcs[0].silent = True
    cluster.unmap(volume)
    cluster.steps(100)
    assert cluster.incarnations(volume) == ["live"]
    assert cluster.row(volume).mappings


def test_force_lets_a_client_that_answers_end_it(cluster):
    volume = cluster.mapped()
    cluster.unmap(volume, force=True)
    assert cluster.row(volume).mappings
    cluster.until(lambda: not cluster.row(volume).mappings)


def test_a_mapping_made_during_a_copy_is_made_in_a_turn(new_cluster):
    cluster = new_cluster(sdcs=2)
    volume = cluster.mapped(shareable=True)
    cluster.sdcs[0].crash_plugins()
    cluster.until(lambda: any(a.leg(volume).copy_order for a in cluster.sds))
    before = cluster.row(volume).generation
    cluster.map(volume, sdc=1)
    cluster.until(lambda: bool(cluster.sdcs[1].maps))
    assert cluster.row(volume).generation == before + 1
    assert not cluster.map_of(1).all_in_sync
    cluster.until(lambda: any(a.leg(volume).copy_order for a in cluster.sds))
    target = next(a.leg(volume) for a in cluster.sds if a.leg(volume).copy_order)
    assert len(target.copy_order.clients) == 2


def test_done_of_an_older_generation_promotes_nobody(cluster):
    volume = cluster.mapped()
    cluster.sdcs[0].crash_plugins()
    cluster.until(lambda: any(a.leg(volume).copy for a in cluster.sds))
    target = next(a for a in cluster.sds if a.leg(volume).copy)
    target.finish_copies(generation=cluster.row(volume).generation - 1)
    cluster.steps(5)
    assert not cluster.all_in_sync(volume)
    target.finish_copies()
    cluster.until(lambda: cluster.all_in_sync(volume))


def test_done_reported_into_an_open_turn_promotes_nobody(cluster):
    volume = cluster.mapped()
    cluster.sdcs[0].crash_plugins()
    cluster.until(lambda: any(a.leg(volume).copy for a in cluster.sds))
    target = next(a for a in cluster.sds if a.leg(volume).copy)
    next(a for a in cluster.sds if a is not target).sealing = False
    cluster.sdcs[0].crash_plugins()  # doubt again, over regions already copied
    cluster.exchange(cluster.sdcs[0])
    cluster.exchange(target)
    assert target.leg(volume).generation == cluster.row(volume).generation
    assert cluster.row(volume).turn_open
    beat = target.beat()
    done = messages.CopyReport(target.leg(volume).generation, 1, 1, done=True)
    told = replace(target.leg(volume).report(target.cache), copy=done)
    cluster.beats.sds(target.id, replace(beat, legs=(told,)))
    assert cluster.states(volume)[target.name] == {"syncing"}


def test_a_copy_of_a_server_that_died_promotes_nobody(cluster):
    volume = cluster.mapped()
    cluster.sdcs[0].crash_plugins()
    cluster.until(lambda: any(a.leg(volume).copy for a in cluster.sds))
    target = next(a for a in cluster.sds if a.leg(volume).copy)
    target.finish_copies()
    target.leg(volume).server = ""  # rebooted: what was copied may be lost with its cache
    cluster.exchange(target)
    assert cluster.states(volume)[target.name] == {"syncing"}


def test_a_resync_is_a_job_with_progress(cluster):
    volume = cluster.mapped()
    cluster.sdcs[0].crash_plugins()
    cluster.until(lambda: any(a.leg(volume).copy for a in cluster.sds))
    target = next(a for a in cluster.sds if a.leg(volume).copy)
    with cluster.ctx.uow.read() as tx:
        (job,) = tx.session.scalars(select(models.Job)).all()
        assert (job.kind, job.state) == ("resync", "running")
    target.finish_copies()
    cluster.until(lambda: cluster.all_in_sync(volume))
    with cluster.ctx.uow.read() as tx:
        (job,) = tx.session.scalars(select(models.Job)).all()
        assert (job.state, job.done_bytes) == ("done", job.total_bytes)


def test_an_sds_lost_while_nobody_maps_the_volume_costs_nothing_until_it_is_mapped(cluster):
    volume = cluster.create()
    cluster.sds[0].silent = True
    cluster.steps(50)
    assert cluster.row(volume).generation == 1
    cluster.map(volume)
    cluster.until(lambda: bool(cluster.sdcs[0].maps))
    assert cluster.map_states() == {"sds1": {"stale"}, "sds2": {"in_sync"}}


def test_deletion_removes_every_trace(cluster):
    volume = cluster.mapped()
    cluster.unmap(volume)
    cluster.until(lambda: not cluster.row(volume).mappings)
    cluster.sds[1].silent = True
    volumes.delete(cluster.ctx, "test", volume)
    cluster.steps(5)
    assert not cluster.sds[0].legs
    assert len(cluster.row(volume).legs) == 1  # sds2 has not said that nothing is left
    cluster.sds[1].silent = False
    cluster.until(lambda: not cluster.sds[1].legs)
    with cluster.ctx.uow.read() as tx:
        for table in (models.Volume, models.Replica, models.VolumeLeg, models.Incarnation):
            assert not tx.session.scalars(select(table)).all()


def test_a_volume_deleted_in_an_open_turn_is_let_go(cluster):
    volume = cluster.mapped()
    cluster.sds[1].sealing = False
    cluster.sds[0].stop_servers()
    cluster.until(lambda: cluster.row(volume).turn_open)
    cluster.sdcs[0].silent = True
    cluster.clock.advance(10)
    cluster.unmap(volume, force=True)
    volumes.delete(cluster.ctx, "test", volume)
    cluster.steps(12)
    assert not cluster.turns.open_volumes()
    assert not any(agent.legs for agent in cluster.sds)


def test_a_database_put_back_touches_nothing_before_every_copy_was_heard_of(cluster):
    volume = cluster.mapped()
    before = cluster.row(volume).generation
    with cluster.ctx.uow.write("test") as tx:
        tx.session.get_one(models.Volume, volume).unproved = True
    cluster.restart()
    cluster.sds[1].silent = True
    cluster.sds[0].stop_servers()  # a turn is needed
    cluster.steps(150)
    assert cluster.row(volume).generation == before
    assert cluster.row(volume).unproved
    assert cluster.all_in_sync(volume)
    cluster.sds[1].silent = False
    cluster.until(lambda: not cluster.row(volume).unproved)
    cluster.until(lambda: cluster.row(volume).generation > before)
    cluster.until(lambda: not cluster.row(volume).turn_open)

"""Turns over the real services: who stays, who leaves, who comes back and when."""

from appliance.mdm import bodies
from appliance.mdm.services import rejoins, turns, volumes


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


def test_one_that_the_client_cannot_reach_goes_the_first_time(cluster):
    """It seals in time, for the MDM reaches it; the client would only ask again."""
    volume = cluster.mapped()
    cluster.sdcs[0].unreachable = {cluster.device(1)}
    cluster.sdcs[0].plugin().miss(cluster.device(1))
    cluster.until(lambda: cluster.map_of().generation == 3)
    cluster.steps(30)
    assert cluster.states(volume) == {"sds1": {"in_sync"}, "sds2": {"stale"}}
    assert cluster.map_of().generation == 3
    cluster.sdcs[0].unreachable = set()
    cluster.until(lambda: cluster.states(volume)["sds2"] == {"syncing"})


def test_who_reaches_nobody_takes_no_copy_away(cluster):
    volume = cluster.mapped()
    cluster.sdcs[0].plugin().miss(cluster.device(0), cluster.device(1))
    cluster.until(lambda: cluster.map_of().generation == 3)
    assert cluster.states(volume) == {"sds1": {"in_sync"}, "sds2": {"in_sync"}}


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
    assert all(abs(wait - rejoins.FIRST_S) < 1.5 for wait in firsts), waits
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


def test_a_device_that_sealed_and_does_not_serve_is_not_in_the_map(cluster):
    volume = cluster.mapped()
    cluster.sds[1].starting = False
    cluster.sdcs[0].plugin().suspect(cluster.device(0))
    cluster.until(lambda: cluster.map_of().generation == 3)
    assert cluster.states(volume) == {"sds1": {"in_sync"}, "sds2": {"stale"}}


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

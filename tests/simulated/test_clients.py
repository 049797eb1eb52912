"""Clients and copies: a lost replica waits for those who use it; who holds a copy up is told of,
or cut off (R8)."""

import pytest

from appliance.mdm.services import clients, orders, reach, rejoins


def _drop(cluster, volume) -> None:
    """The client loses sds2 twice: its replica leaves."""
    for generation in (3, 4):
        cluster.sdcs[0].plugin().suspect(cluster.device(1))
        cluster.until(lambda g=generation: cluster.map_of().generation == g)
    assert cluster.states(volume)["sds2"] == {"stale"}


def test_a_lost_replica_comes_back_only_when_the_client_reaches_it(cluster):
    volume = cluster.mapped()
    cluster.sdcs[0].unreachable.add(cluster.device(1))
    _drop(cluster, volume)
    cluster.clock.advance(rejoins.LIMIT_S)
    cluster.steps(30)
    assert cluster.row(volume).generation == 4  # one link broken costs one replica, no more turns
    cluster.sdcs[0].unreachable.clear()
    cluster.until(lambda: cluster.map_states()["sds2"] == {"syncing"})


def test_it_was_reached_in_this_generation_or_it_was_not(cluster):
    volume = cluster.mapped()
    _drop(cluster, volume)
    cluster.until(lambda: bool(cluster.sdcs[0].plugin().probes))
    cluster.clients.reached(volume, cluster.map_of().legs[0].device_id, {})
    incarnation = cluster.sdcs[0].plugin().status.incarnation
    device = cluster.device(1)
    for generation, known in ((4, True), (3, False), (5, False)):
        cluster.clients.reached(volume, incarnation, {device: generation})
        assert cluster.clients.all_reach(cluster.row(volume), device) == known


def test_every_client_that_answers_is_asked_and_a_silent_one_is_not(new_cluster):
    cluster = new_cluster(sdcs=2)
    volume = cluster.mapped(shareable=True)
    cluster.map(volume, sdc=1)
    cluster.until(lambda: bool(cluster.sdcs[1].maps) and cluster.map_of(0).generation == 3)
    cluster.sds[1].silent = True
    cluster.until(lambda: cluster.states(volume)["sds2"] == {"stale"})
    cluster.sdcs[1].unreachable.add(cluster.device(1))
    cluster.sds[1].silent = False
    cluster.steps(100)
    assert cluster.states(volume)["sds2"] == {"stale"}
    cluster.sdcs[1].silent = True  # then it keeps the copy from nobody else
    cluster.until(lambda: cluster.states(volume)["sds2"] == {"syncing"})


def test_where_nobody_maps_the_volume_nobody_is_asked(cluster):
    volume = cluster.mapped()
    cluster.sdcs[0].unreachable.add(cluster.device(1))
    _drop(cluster, volume)
    cluster.unmap(volume)
    cluster.until(lambda: cluster.states(volume)["sds2"] == {"syncing"})


def test_a_probe_leads_to_the_data_server_or_where_none_is_to_the_agent(cluster):
    volume = cluster.mapped()
    cluster.sds[1].silent = True
    cluster.until(lambda: bool(cluster.sdcs[0].plugin().probes))
    (probe,) = cluster.sdcs[0].plugin().probes
    assert (probe.device_id, probe.data, probe.port) == (cluster.device(1), False, 7072)
    cluster.sdcs[0].unreachable.add(cluster.device(1))
    cluster.sds[1].silent = False
    cluster.until(lambda: cluster.sdcs[0].plugin().probes[0].data)
    (probe,) = cluster.sdcs[0].plugin().probes
    assert (probe.generation, probe.port) == (cluster.row(volume).generation, 7200)
    assert probe.hosts == ("127.0.0.1",)
    cluster.sdcs[0].unreachable.clear()
    cluster.until(lambda: cluster.states(volume)["sds2"] == {"syncing"})
    cluster.until(lambda: not cluster.sdcs[0].plugin().probes)


# --- copies held up ---------------------------------------------------------------------------


@pytest.fixture
def held_up(cluster):
    """A volume whose copy the mapped client holds up; the seconds from now on count."""
    volume = cluster.mapped()
    cluster.sds[1].silent = True
    cluster.until(lambda: cluster.states(volume)["sds2"] == {"stale"})
    cluster.sds[1].silent = False
    cluster.until(lambda: cluster.sds[1].leg(volume).copy is not None)
    cluster.sds[1].hold_up_copies(cluster.sdcs[0].plugin().status.incarnation)
    cluster.step()
    return volume


def test_a_client_that_answers_the_mdm_makes_the_copy_wait_and_is_told_of_once(cluster, held_up):
    cluster.steps(int(10 * clients.TELL_S) - 20)
    assert cluster.events("copy_held_up") == []
    cluster.steps(int(20 * clients.GRACE_S))
    told = {"device": cluster.device(1), "sdc": "sdc1"}
    assert cluster.events("copy_held_up") == [told]
    assert cluster.incarnations(held_up) == ["live"]
    assert cluster.states(held_up)["sds2"] == {"syncing"}
    cluster.sds[1].hold_up_copies("")
    cluster.steps(2)
    assert cluster.events("copy_goes_on") == [{"device": cluster.device(1)}]


def test_a_short_hold_up_is_no_news(cluster, held_up):
    cluster.sds[1].hold_up_copies("")
    cluster.steps(int(15 * clients.TELL_S))
    assert cluster.events("copy_held_up") == cluster.events("copy_goes_on") == []


def test_a_client_that_answers_nobody_is_cut_off_after_the_grace(cluster, held_up):
    cluster.sdcs[0].silent = True
    generation = cluster.row(held_up).generation
    cluster.steps(int(10 * clients.GRACE_S) - 20)
    assert cluster.incarnations(held_up) == ["live"]
    assert cluster.row(held_up).generation == generation
    cluster.until(lambda: cluster.row(held_up).generation == generation + 1)
    assert cluster.events("client_cut_off") == [{"sdc": "sdc1", "silent_s": clients.GRACE_S}]
    cluster.until(lambda: not cluster.row(held_up).turn_open)
    assert cluster.sds[1].leg(held_up).copy_order.clients == ()  # the copy goes on without it
    (mapping,) = cluster.row(held_up).mappings
    assert mapping.state == "failed"
    assert "answered neither the MDM nor the copy" in mapping.error


def test_a_client_that_was_cut_off_never_comes_back_under_its_incarnation(cluster, held_up):
    cluster.sdcs[0].silent = True
    cluster.until(lambda: bool(cluster.events("client_cut_off")), 90)
    cluster.until(lambda: not cluster.row(held_up).turn_open)
    cluster.sds[1].finish_copies()
    cluster.until(lambda: cluster.incarnations(held_up) == [])  # its intent files are gone
    old = cluster.sdcs[0].plugin()
    cluster.sdcs[0].silent = False
    cluster.until(lambda: old.status.ended == "cut off")
    cluster.steps(20)
    assert cluster.incarnations(held_up) == []
    with cluster.ctx.uow.read() as tx:
        (order,) = orders.for_sdc(tx, cluster.sdcs[0].id).mappings
    assert order.map is None
    cluster.sdcs[0].crash_plugins()  # its host boots again: a new incarnation may
    cluster.until(lambda: cluster.sdcs[0].plugin().map is not None)
    assert cluster.incarnations(held_up) == ["live"]


def test_silence_alone_cuts_nobody_off(cluster):
    volume = cluster.mapped()
    cluster.sdcs[0].silent = True
    cluster.steps(int(15 * clients.GRACE_S))
    assert cluster.incarnations(volume) == ["live"]


def test_a_restart_of_the_mdm_begins_the_grace_anew(cluster, held_up):
    cluster.sdcs[0].silent = True
    cluster.steps(int(10 * clients.GRACE_S) - 20)
    cluster.restart()
    cluster.steps(int(10 * clients.GRACE_S) - 20)
    assert cluster.incarnations(held_up) == ["live"]
    cluster.until(lambda: bool(cluster.events("client_cut_off")))
    assert reach.GRACE_S < clients.GRACE_S


def test_a_mapping_that_ended_is_not_admitted_again(cluster):
    volume = cluster.mapped()
    plugin = cluster.sdcs[0].plugin()
    plugin.status = type(plugin.status)(plugin.status.incarnation, 2, 1, 2, ended="a write failed")
    cluster.until(lambda: cluster.incarnations(volume) == ["retiring"])
    cluster.until(lambda: any(agent.leg(volume).copy_order for agent in cluster.sds))
    for agent in cluster.sds:
        agent.finish_copies()
    cluster.until(lambda: not cluster.incarnations(volume))
    cluster.restart()  # now its report is news again
    cluster.steps(20)
    assert cluster.incarnations(volume) == []

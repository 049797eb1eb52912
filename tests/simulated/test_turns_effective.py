"""When a turn's map is handed out: not before every client that may read by the old one left it,
or its pulses are too old to (R6); and what a new client waits for."""

from appliance.domain import model
from appliance.mdm.services import orders, turns

EFFECTIVE_S = model.PULSE_S + model.PULSE_MARGIN_S


def test_no_map_is_handed_out_while_the_turn_is_open(cluster):
    cluster.sds[1].sealing = False
    volume = cluster.create()
    cluster.map(volume)
    cluster.steps(10)
    assert cluster.row(volume).turn_open
    assert not cluster.sdcs[0].maps


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

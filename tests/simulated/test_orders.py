"""Orders: made from the database alone, for whom they concern, only when they changed."""

from appliance.common import log
from appliance.domain import model
from appliance.mdm import bodies
from appliance.mdm.services import orders, volumes


def _sds_orders(cluster, sds, revision):
    with cluster.ctx.uow.read() as tx:
        return orders.for_sds(tx, cluster.sds[sds].id, revision)


def test_only_what_changed_since_the_revision_is_ordered(cluster):
    volume = cluster.mapped()
    now = _sds_orders(cluster, 0, 0)
    assert [order.volume_id for order in now.legs] == [volume]
    assert not _sds_orders(cluster, 0, now.revision).legs
    other = cluster.create("other")
    assert [o.volume_id for o in _sds_orders(cluster, 0, now.revision).legs] == [other]


def test_an_agent_that_knows_a_later_revision_gets_everything(cluster):
    cluster.mapped()
    now = _sds_orders(cluster, 0, 0)
    assert _sds_orders(cluster, 0, now.revision + 100).legs == now.legs


def test_orders_carry_the_term(cluster):
    cluster.restart()
    assert _sds_orders(cluster, 0, 0).term == cluster.term
    with cluster.ctx.uow.read() as tx:
        assert orders.for_sdc(tx, cluster.sdcs[0].id).term == cluster.term


def test_a_change_pokes_the_sdss_and_the_clients_concerned_after_the_commit(new_cluster):
    cluster = new_cluster(sds=3)
    volume = cluster.mapped(columns=1)
    del cluster.pokes[:]
    cluster.sdcs[0].plugin().suspect(cluster.row(volume).legs[0].device_id)
    cluster.exchange(cluster.sdcs[0])
    holders = {leg.device_id for leg in cluster.row(volume).legs}
    expected = {("sds", a.id) for a in cluster.sds if holders & set(a.paths)}
    assert len(expected) == 2
    assert cluster.pokes[-1] == expected | {("sdc", cluster.sdcs[0].id)}


def test_the_order_names_what_the_leg_holds_in_which_state(cluster):
    volume = cluster.mapped(columns=2)
    (order,) = _sds_orders(cluster, 1, 0).legs
    assert [(c.index, c.state) for c in order.columns] == [
        (0, model.ReplicaState.IN_SYNC),
        (1, model.ReplicaState.IN_SYNC),
    ]
    assert (order.volume_id, order.generation, order.serve, order.size) == (
        volume,
        2,
        True,
        64 << 20,
    )
    assert order.incarnations == (cluster.sdcs[0].plugin().status.incarnation,)


def test_nobody_serves_a_volume_nobody_uses(cluster):
    cluster.create()
    (order,) = _sds_orders(cluster, 0, 0).legs
    assert not order.serve
    assert order.generation == 1


def test_no_copy_is_ordered_in_an_open_turn(cluster):
    volume = cluster.mapped()
    cluster.sdcs[0].crash_plugins()
    cluster.until(lambda: any(a.leg(volume).copy_order for a in cluster.sds))
    target = next(n for n, a in enumerate(cluster.sds) if a.leg(volume).copy_order)
    cluster.sdcs[0].crash_plugins()
    cluster.exchange(cluster.sdcs[0])
    (order,) = _sds_orders(cluster, target, 0).legs
    assert order.flush
    assert order.copy is None
    assert order.generation == cluster.row(volume).generation


def test_a_client_is_told_of_the_turn_and_given_no_map_in_it(cluster):
    cluster.mapped()
    cluster.sds[0].sealing = False
    cluster.sds[1].stop_servers()
    cluster.exchange(cluster.sds[1])
    with cluster.ctx.uow.read() as tx:
        (order,) = orders.for_sdc(tx, cluster.sdcs[0].id).mappings
    assert order.open_generation == 3
    assert order.map is None


def test_a_map_is_no_longer_than_its_legs_before_the_turn_of_a_growth(cluster):
    name = cluster.mapped()
    before = cluster.row(name).size
    volumes.update(cluster.ctx, "test", name, bodies.VolumeChange(size_bytes=2 * before))
    with cluster.ctx.uow.read() as tx:
        (order,) = orders.for_sdc(tx, cluster.sdcs[0].id).mappings
    assert order.map.generation == cluster.map_of().generation  # no turn yet: servers of before
    assert (order.map.size, order.size) == (before, before)


def test_a_map_names_the_incarnation_it_is_for_and_no_other(new_cluster):
    cluster = new_cluster(sdcs=2)
    volume = cluster.mapped(shareable=True)
    cluster.map(volume, sdc=1)
    cluster.until(lambda: bool(cluster.sdcs[1].maps))
    cluster.until(lambda: cluster.map_of(0).generation == cluster.map_of(1).generation)
    for client in cluster.sdcs:
        incarnation = client.plugin().status.incarnation
        with cluster.ctx.uow.read() as tx:
            (order,) = orders.for_sdc(tx, client.id).mappings
        assert order.incarnation == incarnation
        assert all(leg.intent_export.endswith(incarnation) for leg in order.map.legs)
        assert order.map.shared


def test_an_intent_file_is_retired_only_while_every_replica_is_in_sync(cluster):
    volume = cluster.mapped()
    cluster.unmap(volume)
    cluster.sds[1].silent = True
    cluster.until(lambda: cluster.incarnations(volume) == ["clean"])
    row = cluster.row(volume)
    assert orders.retirable(row) == (row.incarnations[0].id,)
    row.replicas[0].state = "stale"
    assert orders.retirable(row) == ()
    row.replicas[0].state = "in_sync"
    row.turn_open = True
    assert orders.retirable(row) == ()


def test_orders_name_the_request_they_go_back_to(cluster):
    with log.request("request-1"):
        volume = cluster.create()
        cluster.map(volume)
    cluster.until(lambda: bool(cluster.sdcs[0].maps))
    with cluster.ctx.uow.read() as tx:
        (mapped,) = orders.for_sdc(tx, cluster.sdcs[0].id).mappings
        (leg,) = orders.for_sds(tx, cluster.sds[0].id, 0).legs
    assert (mapped.request_id, leg.request_id) == ("request-1", "request-1")
    began = [e for e in cluster.event_rows("turn_began") if e.subject_id == volume]
    assert [event.request_id for event in began] == ["request-1"]

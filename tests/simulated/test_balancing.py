"""A pool is evened out when devices come, or by order: about their share moves, and no more."""

import pytest

from appliance.mdm import bodies
from appliance.mdm.services import balancing, pools, withdrawal
from tests.simulated import moving

ACTOR = "test"


@pytest.fixture
def three(new_cluster):
    return new_cluster(sds=3)


def _fourth(cluster):
    cluster.sds.append(cluster.new_sds("sds4"))
    cluster.add_device(cluster.sds[3], "/srv/sds4")


def _on_fourth(cluster, volume):
    return sum("sds4" in names for names in moving.holders(cluster, volume).values())


def _states(cluster):
    return [job["state"] for job in moving.jobs_of(cluster, "rebalance")]


def test_a_new_device_gets_its_share_by_itself_and_then_all_is_quiet(three):
    volume = three.mapped(columns=8)
    _fourth(three)
    three.steps(100)
    assert not three.row(volume).moves  # more may be coming
    three.until(lambda: bool(three.row(volume).moves), 40)
    moving.finish(three, lambda: _states(three) == ["done"])
    assert _on_fourth(three, volume) == 4  # of sixteen replicas
    assert moving.settled(three, volume)
    (job,) = moving.jobs_of(three, "rebalance")
    assert job["done_bytes"] == job["total_bytes"] == 4 * (three.row(volume).size // 8)
    three.steps(700)
    assert _states(three) == ["done"]
    events = three.events("move_began")
    assert len(events) == 4


def test_a_pool_that_shall_not_even_itself_out_does_so_by_order_only(three):
    pools.update(three.ctx, ACTOR, "pool", bodies.PoolChange(rebalance=False))
    volume = three.create(columns=8)
    _fourth(three)
    three.steps(600)
    assert _on_fourth(three, volume) == 0
    job = balancing.order(three.ctx, ACTOR, "pool")
    assert balancing.order(three.ctx, ACTOR, "pool") == job
    moving.finish(three, lambda: _states(three) == ["done"])
    assert _on_fourth(three, volume) == 4


def test_it_waits_while_a_device_is_away_and_says_so(three):
    volume = three.create(columns=8)
    _fourth(three)
    three.steps(10)
    three.sds[2].silent = True
    three.steps(40)
    balancing.order(three.ctx, ACTOR, "pool")
    three.steps(30)
    assert not three.row(volume).moves
    (job,) = moving.jobs_of(three, "rebalance")
    assert job["detail"] == "waits until all devices are in use; not now: sds3"
    three.sds[2].silent = False
    moving.finish(three, lambda: _states(three) == ["done"])
    assert _on_fourth(three, volume) == 4


def test_one_that_is_cancelled_stops_where_it_is(three):
    pools.update(three.ctx, ACTOR, "pool", bodies.PoolChange(rebalance=False))
    volume = three.mapped(columns=8)
    _fourth(three)
    three.steps(10)
    job = balancing.order(three.ctx, ACTOR, "pool")
    three.until(lambda: any(r.state == "syncing" for r in three.row(volume).replicas))
    withdrawal.cancel(three.ctx, ACTOR, job)
    three.until(lambda: moving.settled(three, volume))
    assert _on_fourth(three, volume) == 0
    assert _states(three) == ["cancelled"]


def test_a_pool_that_is_even_already_has_nothing_to_do(three):
    three.create(columns=8)
    balancing.order(three.ctx, ACTOR, "pool")
    three.until(lambda: _states(three) == ["done"])
    assert not three.events("move_began")

"""As many copies run at once, and as fast, as the pool's policy says; changes reach all."""

from dataclasses import replace

import pytest

from appliance.mdm import bodies
from appliance.mdm.services import maintenance, pools, withdrawal
from appliance.protocol import messages
from tests.simulated import moving

MIB = 1 << 20
ACTOR = "test"


@pytest.fixture
def three(new_cluster):
    return new_cluster(sds=3)


def _policy(cluster, mode, copies=0, bandwidth=0):
    change = bodies.PoolChange(
        rebuild_policy=mode, rebuild_copies=copies, rebuild_bandwidth=bandwidth
    )
    pools.update(cluster.ctx, ACTOR, "pool", change)


def _paces(cluster):
    """Bandwidths of the copies that are ordered, by (volume, SDS)."""
    return {
        (volume, agent.name): leg.copy_order.bandwidth
        for agent in cluster.sds
        for (volume, _), leg in agent.legs.items()
        if leg.copy_order is not None
    }


def _all_behind(cluster, count):
    """Volumes of which sds1 was away for a while; it is back."""
    made = []
    for number in range(count):
        made.append(cluster.create(name=f"v{number}", columns=3))
        cluster.map(made[-1])
    cluster.until(lambda: len(cluster.sdcs[0].maps) >= count)
    cluster.until(lambda: not any(cluster.row(v).turn_open for v in made))
    maintenance.enter(cluster.ctx, ACTOR, "sds1")
    cluster.until(lambda: all(cluster.states(v)["sds1"] == {"stale"} for v in made))
    maintenance.leave(cluster.ctx, ACTOR, "sds1")
    cluster.until(lambda: all(cluster.states(v)["sds1"] == {"syncing"} for v in made))
    cluster.steps(5)
    return made


def _io(cluster, operations):
    """Every mapped volume's client has done so much since it was last asked."""
    for plugin in cluster.sdcs[0].plugins.values():
        stats = plugin.status.stats
        plugin.status = replace(
            plugin.status, stats=messages.IoStats(writes=stats.writes + operations)
        )


def test_no_more_copies_run_at_a_device_than_the_policy_says_and_all_end(three):
    _policy(three, "copies", copies=1)
    made = _all_behind(three, 3)
    assert len(_paces(three)) == 1
    seen = []

    def done():
        seen.append(len(_paces(three)))
        return all(three.all_in_sync(v) for v in made)

    moving.finish(three, done)
    assert max(seen) == 1


def test_a_raised_limit_lets_the_waiting_ones_run(three):
    _policy(three, "copies", copies=1)
    _all_behind(three, 3)
    _policy(three, "unlimited")
    three.until(lambda: len(_paces(three)) == 3)


def test_a_bandwidth_is_shared_by_the_copies_of_a_device_and_changes_while_they_run(three):
    _policy(three, "bandwidth", copies=2, bandwidth=50 * MIB)
    _all_behind(three, 2)
    assert sorted(_paces(three).values()) == [25 * MIB, 25 * MIB]
    before = [leg.copy for leg in three.sds[0].legs.values()]
    _policy(three, "bandwidth", copies=2, bandwidth=10 * MIB)
    three.until(lambda: sorted(_paces(three).values()) == [5 * MIB, 5 * MIB])
    assert [leg.copy for leg in three.sds[0].legs.values()] == before  # they go on


def test_applications_come_first_by_default(three):
    _all_behind(three, 1)
    assert set(_paces(three).values()) == {0}
    for _ in range(3):
        _io(three, 100)
        three.steps(10)
    assert set(_paces(three).values()) == {10 * MIB}
    three.until(lambda: set(_paces(three).values()) == {0})  # quiet again
    for _ in range(3):
        _io(three, 2)
        three.steps(10)
    assert set(_paces(three).values()) == {0}  # a little is no load


def test_at_most_as_many_volumes_move_at_a_device_at_once_as_copies_may_run(new_cluster):
    cluster = new_cluster(sds=4)
    _policy(cluster, "copies", copies=1)
    made = [cluster.create(name=f"v{n}", columns=4) for n in range(2)]
    withdrawal.evacuate(cluster.ctx, ACTOR, "sds2")
    most = []

    def done():
        most.append(sum(bool(cluster.row(v).moves) for v in made))
        return moving.jobs_of(cluster, "evacuate")[0]["state"] == "done"

    moving.finish(cluster, done, rounds=120)
    assert max(most) == 1

"""SDSs and devices are emptied before they go, as long as nobody changes his mind."""

import pytest

from appliance.common import errors
from appliance.mdm import bodies
from appliance.mdm.db import models
from appliance.mdm.services import devices, mappings, orders, pools, sds, volumes, withdrawal
from appliance.protocol import messages
from tests.simulated import moving

ACTOR = "test"


@pytest.fixture
def four(new_cluster):
    return new_cluster(sds=4)


def _state(cluster, job):
    return next(j for j in moving.jobs_of(cluster, job) if j["kind"] == job)["state"]


def test_an_evacuated_sds_holds_nothing_and_the_client_never_lost_a_copy(four):
    volume, idle = four.mapped(columns=4), four.create(name="idle", columns=4)
    assert "sds2" in str(moving.holders(four, volume))
    job = withdrawal.evacuate(four.ctx, ACTOR, "sds2")
    assert withdrawal.evacuate(four.ctx, ACTOR, "sds2") == job
    seen = set()

    def done():
        for column in range(4):
            rows = [r for r in four.row(volume).replicas if r.column == column]
            seen.add(sum(r.state == "in_sync" for r in rows))
        return _state(four, "evacuate") != "running"

    moving.finish(four, done)
    assert _state(four, "evacuate") == "done"
    assert min(seen) == 2
    for name in (volume, idle):
        assert "sds2" not in str(moving.holders(four, name))
        assert four.all_in_sync(name)
    four.steps(20)
    assert not four.sds[1].legs  # its files are deleted
    assert {leg.sds_name for leg in four.map_of().legs} == {"sds1", "sds3", "sds4"}
    # Nothing new is put there until it is used again.
    assert "sds2" not in str(moving.holders(four, four.create(name="new", columns=4)))
    withdrawal.readmit(four.ctx, ACTOR, "sds2")
    assert "sds2" in str(moving.holders(four, four.create(name="newer", columns=4)))


def test_targets_of_an_evacuation_are_many(four):
    volume = four.mapped(columns=8)
    withdrawal.evacuate(four.ctx, ACTOR, "sds2")
    four.until(lambda: bool(four.row(volume).moves))
    assert len({move.to_device_id for move in four.row(volume).moves}) > 1


def test_neighbouring_columns_are_copied_from_different_replicas():
    rows = [
        models.Replica(volume_id="v", column=column, slot=slot, device_id=device, state=state)
        for column in (0, 1)
        for slot, (device, state) in enumerate(
            [("x", "in_sync"), ("y", "in_sync"), ("z", "syncing")]
        )
    ]
    assert [orders.source_of(rows, column).device_id for column in (0, 1)] == ["x", "y"]


@pytest.mark.parametrize("how", ["job", "undo"])
def test_an_evacuation_that_is_cancelled_leaves_the_rest_where_it_was(four, how):
    volume = four.mapped(columns=4)
    before = moving.holders(four, volume)
    job = withdrawal.evacuate(four.ctx, ACTOR, "sds2")
    four.until(lambda: any(r.state == "syncing" for r in four.row(volume).replicas))
    if how == "job":
        withdrawal.cancel(four.ctx, ACTOR, job)
    else:
        withdrawal.readmit(four.ctx, ACTOR, "sds2")
    four.until(lambda: moving.settled(four, volume))
    after = moving.holders(four, volume)
    assert {c: set(names) for c, names in after.items()} == {
        c: set(names) for c, names in before.items()
    }
    four.until(lambda: _state(four, "evacuate") == "cancelled")
    assert sds.get(four.ctx, "sds2")["state"] == "normal"
    assert four.map_of().all_in_sync
    with pytest.raises(errors.Conflict, match="cancelled already"):
        withdrawal.cancel(four.ctx, ACTOR, job)


def test_a_device_with_data_is_drained_and_then_given_back(four):
    volume = four.mapped(columns=4)
    ident = four.device(1)
    job = withdrawal.drain(four.ctx, ACTOR, ident, force=False)
    assert devices.get(four.ctx, ident)["draining"]
    moving.finish(four, lambda: _state(four, "device_remove") != "running")
    assert _state(four, "device_remove") == "done"
    assert moving.jobs_of(four, "device_remove")[0]["id"] == job
    assert not four.sds[1].paths
    assert four.all_in_sync(volume)
    with pytest.raises(errors.NotFound):
        devices.get(four.ctx, ident)


def test_an_sds_that_answers_is_removed_only_by_evacuation(four):
    volume = four.mapped(columns=4)
    with pytest.raises(errors.InUse, match="basalt sds remove sds2 --evacuate"):
        withdrawal.remove(four.ctx, ACTOR, "sds2", evacuate=False)
    job = withdrawal.remove(four.ctx, ACTOR, "sds2", evacuate=True)
    assert withdrawal.remove(four.ctx, ACTOR, "sds2", evacuate=True) == job
    gone = four.sds[1]
    moving.finish(four, lambda: not gone.paths)
    four.sds.remove(gone)  # its secret is worth nothing now
    four.steps(20)
    assert _state(four, "sds_remove") == "done"
    with pytest.raises(errors.NotFound):
        sds.get(four.ctx, "sds2")
    assert moving.settled(four, volume)


def test_an_sds_that_is_gone_is_removed_at_once_and_replaced(four):
    volume = four.mapped(columns=4)
    four.sds[1].silent = True
    four.until(lambda: four.states(volume)["sds2"] == {"stale"})
    withdrawal.remove(four.ctx, ACTOR, "sds2", evacuate=False)
    four.until(lambda: bool(four.row(volume).moves))  # no waiting for the delay
    moving.finish(four, lambda: _state(four, "sds_remove") != "running")
    assert _state(four, "sds_remove") == "done"
    with pytest.raises(errors.NotFound):
        sds.get(four.ctx, "sds2")
    assert moving.settled(four, volume)
    assert not any("gone" in names for names in moving.holders(four, volume).values())


def test_the_last_copy_is_not_given_up_with_its_sds(new_cluster):
    cluster = new_cluster(sds=3)
    volume = cluster.mapped(columns=1)
    first, second = moving.holders(cluster, volume)[0]
    by_name = {agent.name: agent for agent in cluster.sds}
    by_name[first].silent = True
    cluster.until(lambda: cluster.states(volume)[first] == {"stale"})
    by_name[second].silent = True
    cluster.steps(40)
    with pytest.raises(errors.Conflict, match="has the last good copy of parts of vol"):
        withdrawal.remove(cluster.ctx, ACTOR, second, evacuate=False)
    device = next(iter(by_name[second].paths))
    with pytest.raises(errors.Conflict, match="last good copy"):
        withdrawal.drain(cluster.ctx, ACTOR, device, force=False)
    assert sds.get(cluster.ctx, second)["state"] == "normal"


def test_a_volume_deleted_while_it_moves_leaves_nothing_and_the_job_ends(four):
    volume = four.mapped(columns=4)
    withdrawal.evacuate(four.ctx, ACTOR, "sds2")
    four.until(lambda: bool(four.row(volume).moves))
    mappings.delete(four.ctx, ACTOR, volume, "sdc1", False)
    four.until(lambda: not four.row(volume).mappings)
    volumes.delete(four.ctx, ACTOR, volume)
    four.until(lambda: _state(four, "evacuate") == "done")
    four.steps(10)
    assert not any(agent.legs for agent in four.sds)


def test_a_target_that_fails_is_replaced_by_another(four):
    volume = four.mapped(columns=1)
    first, _ = moving.holders(four, volume)[0]
    withdrawal.evacuate(four.ctx, ACTOR, first)
    four.until(lambda: any(r.state == "syncing" for r in four.row(volume).replicas))
    (move,) = four.row(volume).moves
    target = next(agent for agent in four.sds if move.to_device_id in agent.paths)
    target.fail_device(move.to_device_id)
    moving.finish(four, lambda: _state(four, "evacuate") != "running")
    assert _state(four, "evacuate") == "done"
    assert not {first, target.name} & set(moving.holders(four, volume)[0])


def test_thick_volumes_reserve_where_they_go_and_no_longer_where_they_were(four):
    volume = four.create(columns=4, thin=False)
    four.until(lambda: four.row(volume).state == "ready")
    before = {leg.device_id: leg.reserved_bytes for leg in four.row(volume).legs}
    assert sum(before.values()) == 2 * four.row(volume).size
    withdrawal.evacuate(four.ctx, ACTOR, "sds2")
    four.until(lambda: bool(four.row(volume).moves))
    during = sum(leg.reserved_bytes for leg in four.row(volume).legs)
    assert during == sum(before.values()) + before[four.device(1)]
    moving.finish(four, lambda: _state(four, "evacuate") != "running")
    four.steps(10)
    after = {leg.device_id: leg.reserved_bytes for leg in four.row(volume).legs}
    assert sum(after.values()) == sum(before.values())
    assert four.device(1) not in after


def test_only_jobs_that_move_replicas_can_be_cancelled(four):
    volume = four.create(columns=1)
    job = volumes.delete(four.ctx, ACTOR, volume)
    with pytest.raises(errors.Conflict, match="cannot be cancelled"):
        withdrawal.cancel(four.ctx, ACTOR, job)


def test_sdss_in_other_states_are_not_evacuated_or_readmitted(four):
    with pytest.raises(errors.Conflict, match="is not being evacuated"):
        withdrawal.readmit(four.ctx, ACTOR, "sds1")
    four.create(columns=1)
    withdrawal.remove(four.ctx, ACTOR, "sds1", evacuate=True)
    with pytest.raises(errors.Conflict, match="in state removing"):
        withdrawal.evacuate(four.ctx, ACTOR, "sds1")
    assert bodies.is_id(sds.get(four.ctx, "sds1")["id"])


def test_no_copy_of_a_volume_begins_again_because_another_one_is_over(four):
    pools.update(four.ctx, ACTOR, "pool", bodies.PoolChange(rebuild_policy="unlimited"))
    volume = four.mapped(columns=8)
    withdrawal.evacuate(four.ctx, ACTOR, "sds2")
    four.until(lambda: sum(len(leg.copy_order.columns) for leg in _copied_to(four)) == 4)
    first, *others = _copied_to(four)
    assert others
    total = first.copy.total_bytes
    first.copy = messages.CopyReport(first.generation, total, total, done=True)
    generation = four.row(volume).generation
    four.steps(40)
    assert four.row(volume).generation == generation
    moving.finish(four, lambda: _state(four, "evacuate") == "done")
    assert four.row(volume).generation == generation + 1  # all left in one turn


def _copied_to(cluster):
    return [
        leg for agent in cluster.sds for leg in agent.legs.values() if leg.copy_order is not None
    ]

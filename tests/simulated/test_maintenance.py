"""An absence by intent: out of the maps before it begins, nothing rebuilt, a delta afterwards."""

import pytest

from appliance.common import errors
from appliance.mdm.services import maintenance, overview, sds, volume_views
from tests.simulated import moving

ACTOR = "test"


@pytest.fixture
def three(new_cluster):
    return new_cluster(sds=3)


def test_a_round_trip_is_a_turn_out_a_turn_in_and_a_delta(three):
    volume = three.mapped(columns=3)
    maintenance.enter(three.ctx, ACTOR, "sds2")
    three.until(lambda: three.map_states().get("sds2") == {"stale"})  # though it still answers
    three.until(lambda: three.map_of().generation == three.row(volume).generation)
    generation = three.row(volume).generation
    resting = three.sds[1]
    resting.silent = True
    moving.leap(three, 5000.0)
    three.steps(30)
    assert not three.row(volume).moves
    assert not moving.jobs_of(three, "rebuild")
    assert three.row(volume).generation == generation
    resting.silent = False
    resting.reboot()
    three.steps(30)
    assert three.states(volume)["sds2"] == {"stale"}  # back, and not yet released
    maintenance.leave(three.ctx, ACTOR, "sds2")
    three.until(lambda: resting.leg(volume).copy_order is not None)
    assert not any(column.full for column in resting.leg(volume).copy_order.columns)
    moving.finish(three, lambda: moving.settled(three, volume))
    assert three.map_of().all_in_sync


def test_it_is_said_and_is_no_warning(three):
    volume = three.mapped(columns=3)
    maintenance.enter(three.ctx, ACTOR, "sds2")
    three.until(lambda: three.map_states().get("sds2") == {"stale"})
    three.sds[1].silent = True
    three.steps(40)
    problems = {p["component"]: p for p in overview.status(three.ctx)["problems"]}
    assert problems["sds/sds2"]["severity"] == "info"
    assert "sds2 (in maintenance)" in volume_views.get(three.ctx, volume)["reason"]


def test_it_is_refused_where_it_would_take_the_last_good_copy(three):
    volume = three.mapped(columns=1)
    first, second = moving.holders(three, volume)[0]
    maintenance.enter(three.ctx, ACTOR, first)
    assert maintenance.enter(three.ctx, ACTOR, first)["state"] == "maintenance"
    with pytest.raises(errors.Conflict, match="has the only good copy of parts of vol"):
        maintenance.enter(three.ctx, ACTOR, second)
    maintenance.leave(three.ctx, ACTOR, first)
    with pytest.raises(errors.Conflict, match="is not in maintenance"):
        maintenance.leave(three.ctx, ACTOR, first)
    moving.finish(three, lambda: moving.settled(three, volume))
    maintenance.enter(three.ctx, ACTOR, second)
    third = next(a.name for a in three.sds if a.name not in (first, second))
    assert maintenance.enter(three.ctx, ACTOR, third)["state"] == "maintenance"  # holds nothing


def test_an_absence_that_goes_on_after_it_counts_from_its_end(three):
    volume = three.mapped(columns=1)
    first, _ = moving.holders(three, volume)[0]
    maintenance.enter(three.ctx, ACTOR, first)
    agent = next(a for a in three.sds if a.name == first)
    three.until(lambda: three.map_states().get(first) == {"stale"})
    agent.silent = True
    three.steps(40)
    moving.leap(three, 5000.0)
    maintenance.leave(three.ctx, ACTOR, first)
    three.steps(40)
    assert not three.row(volume).moves
    moving.leap(three, 601.0)
    three.until(lambda: bool(three.row(volume).moves))


def test_nothing_new_is_put_on_an_sds_in_maintenance(three):
    maintenance.enter(three.ctx, ACTOR, "sds2")
    assert sds.get(three.ctx, "sds2")["state"] == "maintenance"
    assert "sds2" not in str(moving.holders(three, three.create(columns=3)))


def test_a_last_copy_stays_in_the_map_if_the_other_one_is_lost_meanwhile(three):
    volume = three.mapped(columns=1)
    first, second = moving.holders(three, volume)[0]
    agents = {agent.name: agent for agent in three.sds}
    agents[first].sealing = False  # so that it cannot be taken out in time
    maintenance.enter(three.ctx, ACTOR, first)
    agents[second].silent = True
    three.steps(60)
    assert "in_sync" in {r.state for r in three.row(volume).replicas}

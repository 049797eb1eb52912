"""Replicas of an SDS that stays away are made elsewhere, once, from good copies only."""

import pytest

from appliance.mdm import bodies
from appliance.mdm.services import domains, overview, volume_views, withdrawal
from tests.simulated import moving

DELAY_S = 600.0


@pytest.fixture
def four(new_cluster):
    return new_cluster(sds=4)


def _away(cluster, volume, sds=1):
    """The SDS dies for good while a client writes."""
    cluster.sds[sds].silent = True
    cluster.until(lambda: cluster.states(volume).get(cluster.sds[sds].name) == {"stale"})


def _wait_delay(cluster):
    cluster.clock.advance(DELAY_S)
    for agent in (*cluster.sds, *cluster.sdcs):  # nobody fell silent through the clock's leap
        cluster.exchange(agent)
    cluster.steps(12)


def _copy_all(cluster, volume):
    """Let copies end until every column has two equal replicas and nothing moves."""
    for _ in range(60):
        for agent in cluster.sds:
            agent.finish_copies()
        cluster.steps(5)
        row = cluster.row(volume)
        if not row.moves and cluster.all_in_sync(volume):
            return
    raise TimeoutError(str(cluster.states(volume)))


def test_a_short_absence_moves_nothing(four):
    volume = four.mapped(columns=4)
    _away(four, volume)
    four.clock.advance(DELAY_S - 20)
    for agent in (*four.sds, *four.sdcs):
        four.exchange(agent)
    four.steps(12)
    assert not four.row(volume).moves


def test_an_sds_that_stays_away_is_replaced_by_full_copies_elsewhere(four):
    volume = four.mapped(columns=4)
    lost = [c for c, names in moving.holders(four, volume).items() if "sds2" in names]
    assert lost
    _away(four, volume)
    _wait_delay(four)
    assert sorted(move.column for move in four.row(volume).moves) == lost
    four.until(lambda: any(a.leg(volume).copy_order for a in four.sds if not a.silent))
    for agent in four.sds:
        for (_, _), leg in agent.legs.items():
            if not agent.silent and leg.copy_order is not None:
                assert all(column.full for column in leg.copy_order.columns)
    _copy_all(four, volume)
    held = moving.holders(four, volume)
    assert all(len(names) == len(set(names)) == 2 for names in held.values())
    assert not any("sds2" in names for names in held.values())
    four.until(lambda: four.map_of().all_in_sync)
    assert {leg.sds_name for leg in four.map_of().legs} <= {"sds1", "sds3", "sds4"}


def test_one_job_has_the_sum_over_all_volumes_and_never_more_than_all(four):
    first, second = four.mapped(columns=4), four.create(name="other", columns=4)
    _away(four, first)
    _wait_delay(four)
    (job,) = moving.jobs_of(four, "rebuild")
    assert (job["subject_kind"], job["subject"], job["state"]) == ("sds", "sds2", "running")
    per_column = four.row(first).size // 4
    assert job["total_bytes"] == 4 * per_column
    seen = [job["percent"]]
    for _ in range(40):
        for agent in four.sds:
            agent.finish_copies()
        four.steps(5)
        (job,) = moving.jobs_of(four, "rebuild")
        seen.append(job["percent"])
        if job["state"] != "running":
            break
    assert (job["state"], job["done_bytes"]) == ("done", 4 * per_column)
    assert max(percent or 0 for percent in seen) == 100.0
    assert four.all_in_sync(first)
    assert four.all_in_sync(second)
    assert "sds2" not in str(moving.holders(four, second))


def test_a_delay_that_is_changed_counts_at_once(four):
    volume = four.mapped(columns=4)
    _away(four, volume)
    four.steps(20)
    assert not four.row(volume).moves
    domains.update(four.ctx, "test", "default", bodies.DomainChange(rebuild_delay_s=1.0))
    four.until(lambda: bool(four.row(volume).moves))


def test_a_failed_device_is_replaced_at_once(four):
    volume = four.mapped(columns=4)
    four.sds[1].fail_device(four.device(1))
    four.until(lambda: bool(four.row(volume).moves))
    _copy_all(four, volume)
    assert "sds2" not in str(moving.holders(four, volume))
    (job,) = moving.jobs_of(four, "rebuild")
    assert (job["subject_kind"], job["state"]) == ("device", "done")


def test_one_that_returns_in_time_resyncs_by_delta_and_its_replacement_goes(four):
    volume = four.mapped(columns=4)
    before = moving.holders(four, volume)
    _away(four, volume)
    _wait_delay(four)
    four.until(lambda: four.states(volume).get("sds2") == {"stale"} and _syncing(four, volume))
    back = four.sds[1]
    back.silent = False
    back.reboot()
    four.until(lambda: back.leg(volume).copy_order is not None)
    assert not any(column.full for column in back.leg(volume).copy_order.columns)
    back.finish_copies()
    four.until(lambda: not four.row(volume).moves, 20)
    four.until(lambda: four.all_in_sync(volume))
    assert {c: set(n) for c, n in moving.holders(four, volume).items()} == {
        c: set(n) for c, n in before.items()
    }
    four.until(lambda: moving.jobs_of(four, "rebuild")[0]["state"] != "running")
    (job,) = moving.jobs_of(four, "rebuild")
    assert (job["state"], job["detail"]) == ("cancelled", "sds2 is there again")
    # The files of the replacement are gone where the volume has nothing else.
    four.steps(20)
    legs = {leg.device_id for leg in four.row(volume).legs}
    assert legs == {replica.device_id for replica in four.row(volume).replicas}


def _syncing(cluster, volume):
    return any(r.state == "syncing" for r in cluster.row(volume).replicas)


def test_what_was_removed_comes_back_only_by_a_full_copy(four):
    volume = four.mapped(columns=4)
    _away(four, volume)
    _wait_delay(four)
    _copy_all(four, volume)
    back = four.sds[1]
    back.silent = False
    back.restart()
    four.steps(30)
    assert not any(key[0] == volume for key in back.legs)  # its files are deleted
    assert all(leg.device_id not in back.paths for leg in four.row(volume).legs)


def test_a_restart_of_the_mdm_forgets_neither_the_absence_nor_the_moves(four):
    volume = four.mapped(columns=4)
    _away(four, volume)
    four.steps(10)
    four.clock.advance(DELAY_S)
    four.restart()
    four.steps(60)
    assert not four.row(volume).moves  # too early to say who is away
    four.steps(60)
    four.until(lambda: bool(four.row(volume).moves))
    four.restart()
    _copy_all(four, volume)
    four.until(lambda: moving.jobs_of(four, "rebuild")[0]["state"] == "done", 20)


def test_with_nowhere_to_go_it_says_so_with_numbers_and_goes_on_when_there_is(new_cluster):
    cluster = new_cluster(sds=2)
    volume = cluster.mapped(columns=2)
    _away(cluster, volume)
    _wait_delay(cluster)
    row = volume_views.get(cluster.ctx, volume)
    assert "2 columns of sds2 cannot be copied elsewhere" in row["reason"]
    assert "there are 1 in 1 fault sets, and 2 copies need 2" in row["reason"]
    assert row["health"] == "degraded"
    (job,) = moving.jobs_of(cluster, "rebuild")
    assert "cannot be copied elsewhere" in job["detail"]
    problems = overview.status(cluster.ctx)["problems"]
    assert any("cannot be copied elsewhere" in problem["message"] for problem in problems)
    cluster.sds.append(cluster.new_sds("sds3"))
    cluster.add_device(cluster.sds[2], "/srv/sds3")
    cluster.until(lambda: bool(cluster.row(volume).moves), 20)
    _copy_all(cluster, volume)
    cluster.steps(20)
    assert volume_views.get(cluster.ctx, volume)["reason"] == ""


def test_never_the_last_copy_is_given_up_for_a_move(four):
    volume = four.mapped(columns=4)
    _away(four, volume)
    _wait_delay(four)
    # Every other SDS of a column that lacks a copy goes too: nothing to copy from.
    four.sds[0].silent = four.sds[2].silent = four.sds[3].silent = True
    four.steps(60)
    for column in range(4):
        states = [r.state for r in four.row(volume).replicas if r.column == column]
        assert "in_sync" in states


def test_a_column_whose_second_copy_is_lost_too_keeps_what_its_move_brought(four):
    volume = four.mapped(columns=1)
    names = moving.holders(four, volume)[0]
    first, second = (next(a for a in four.sds if a.name == name) for name in names)
    first.silent = True
    four.until(lambda: four.states(volume)[first.name] == {"stale"})
    _wait_delay(four)
    _copy_all(four, volume)
    second.silent = True
    four.until(lambda: four.states(volume)[second.name] == {"stale"})
    _wait_delay(four)
    _copy_all(four, volume)
    assert not {first.name, second.name} & set(moving.holders(four, volume)[0])


def test_a_full_copy_brings_no_marks_so_one_that_was_behind_then_needs_everything(four):
    """Only the source knows what the one that is away lacks. A delta from the new copy would miss
    what was marked before that joined (R3, R8); and the old copy does not leave meanwhile."""
    volume = four.mapped(columns=1)
    old, other = moving.holders(four, volume)[0]
    withdrawal.evacuate(four.ctx, "test", old)
    four.until(lambda: _syncing(four, volume))
    away = next(a for a in four.sds if a.name == other)
    away.silent = True
    four.until(lambda: four.states(volume)[other] == {"stale"})
    (move,) = four.row(volume).moves
    new = next(a for a in four.sds if move.to_device_id in a.paths)
    four.until(lambda: new.leg(volume).copy_order is not None)
    new.finish_copies()
    four.until(lambda: four.states(volume)[new.name] == {"in_sync"})
    four.steps(20)
    assert four.states(volume)[old] == {"in_sync"}
    away.silent = False
    away.restart()
    four.until(lambda: away.leg(volume).copy_order is not None)
    assert all(column.full for column in away.leg(volume).copy_order.columns)
    moving.finish(four, lambda: moving.settled(four, volume))
    assert set(moving.holders(four, volume)[0]) == {other, new.name}


def test_a_replacement_waits_while_the_one_that_came_back_resyncs(four):
    volume = four.mapped(columns=1)
    lost_name, _ = moving.holders(four, volume)[0]
    lost = next(a for a in four.sds if a.name == lost_name)
    lost.silent = True
    four.until(lambda: four.states(volume)[lost.name] == {"stale"})
    _wait_delay(four)
    four.until(lambda: _syncing(four, volume))
    lost.silent = False
    lost.restart()
    four.until(lambda: lost.leg(volume).copy_order is not None)
    (move,) = four.row(volume).moves
    new = next(a for a in four.sds if move.to_device_id in a.paths)
    assert new.leg(volume).server
    assert new.leg(volume).copy_order is None
    lost.silent = True  # and goes again
    four.until(lambda: new.leg(volume).copy_order is not None, 20)

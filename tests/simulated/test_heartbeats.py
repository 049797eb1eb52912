"""Reports: what is kept of them, what is refused, and what happens when nothing can be kept."""

import sqlite3
import threading
import time
from dataclasses import replace

import pytest
from sqlalchemy import select

from appliance.common import errors
from appliance.domain import health
from appliance.mdm import bodies
from appliance.mdm.db import models
from appliance.mdm.services import heartbeats, reach, sds_reports, volume_views
from appliance.protocol import messages


@pytest.fixture
def locked(cluster):
    """Another program holds the database's write lock while ``locked()`` is in force."""
    connection = sqlite3.connect(cluster.folder / "mdm.db", isolation_level=None)
    connection.execute("PRAGMA busy_timeout = 1")
    yield connection
    connection.close()


def test_a_heartbeat_without_news_writes_nothing(cluster):
    volume = cluster.mapped()
    cluster.steps(5)
    with cluster.ctx.uow.read() as tx:
        before = tx.session.get_one(models.Cluster, 1).revision
    sequence = cluster.writes()
    cluster.steps(5)
    assert cluster.row(volume).generation == 2
    with cluster.ctx.uow.read() as tx:
        assert tx.session.get_one(models.Cluster, 1).revision == before
    assert cluster.writes() == sequence


def test_an_agent_s_new_session_is_asked_for_everything_once(cluster):
    agent = cluster.sds[0]
    agent.restart()
    first = agent.beat()
    partial = replace(first, full=False)
    assert cluster.beats.sds(agent.id, partial).report_all
    assert not cluster.beats.sds(agent.id, first).report_all
    assert not cluster.beats.sds(agent.id, partial).report_all


def test_an_unknown_agent_is_told_so(cluster):
    with pytest.raises(errors.NotFound):
        cluster.beats.sds("0" * 16, cluster.sds[0].beat())
    cluster.mapped()
    with pytest.raises(errors.NotFound):
        cluster.beats.sdc("0" * 16, cluster.sdcs[0].beat())


def test_a_report_about_another_sds_s_device_changes_nothing(cluster):
    volume = cluster.mapped()
    stranger = replace(
        cluster.sds[1].leg(volume).report("x"), device_id=cluster.device(0), serving=False
    )
    beat = replace(cluster.sds[1].beat(), legs=(stranger,))
    cluster.beats.sds(cluster.sds[1].id, beat)
    assert all(leg.serving for leg in cluster.row(volume).legs)


@pytest.mark.parametrize("late", [("old", 9), ("new", 1)])
def test_a_report_that_was_held_up_on_its_way_is_refused(new_cluster, late):
    cluster = new_cluster()
    volume = cluster.mapped()
    agent = cluster.sds[0]
    for session, sequence in (("old", 9), ("new", 1), ("new", 2)):
        beat = replace(agent.beat(), session=session, sequence=sequence, full=True)
        cluster.beats.sds(agent.id, beat)
    dead = replace(agent.leg(volume).report("x"), serving=False)
    beat = replace(agent.beat(), session=late[0], sequence=late[1], legs=(dead,))
    with pytest.raises(errors.StaleOrder):
        cluster.beats.sds(agent.id, beat)
    assert all(leg.serving for leg in cluster.row(volume).legs)


def test_a_report_about_a_mapping_of_another_client_changes_nothing(new_cluster):
    cluster = new_cluster(sdcs=2)
    volume = cluster.mapped()
    (mapping,) = cluster.sdcs[0].plugins
    lie = messages.MappingReport(mapping, "detached")
    cluster.beats.sdc(cluster.sdcs[1].id, messages.SdcHeartbeat("s", "b", True, (lie,)))
    assert cluster.incarnations(volume) == ["live"]


def test_while_the_database_refuses_orders_go_out_and_everything_is_asked_for_again(
    cluster, locked
):
    volume = cluster.mapped()
    agent = cluster.sds[0]
    locked.execute("BEGIN IMMEDIATE")
    agent.stop_servers()
    agent.revision = 0
    beat = agent.beat()
    answer = cluster.beats.sds(agent.id, beat)
    assert answer.report_all
    assert [order.volume_id for order in answer.legs] == [volume]
    orders = cluster.beats.sdc(cluster.sdcs[0].id, cluster.sdcs[0].beat())
    assert orders.mappings[0].map is not None
    locked.execute("ROLLBACK")
    agent.take(beat, answer)
    cluster.until(lambda: cluster.map_of().generation == 3)
    assert cluster.all_in_sync(volume)


def test_a_client_s_report_that_was_not_kept_is_news_again(cluster, locked):
    volume = cluster.mapped()
    locked.execute("BEGIN IMMEDIATE")
    cluster.sdcs[0].crash_plugins()
    cluster.exchange(cluster.sdcs[0])
    locked.execute("ROLLBACK")
    cluster.until(lambda: cluster.incarnations(volume) == ["live", "retiring"])


def test_a_turn_whose_commit_failed_is_forgotten_and_begun_anew(cluster, monkeypatch):
    volume = cluster.mapped()
    cluster.sds[0].sealing = cluster.sds[1].sealing = False
    cluster.sds[0].stop_servers()
    cluster.until(lambda: cluster.row(volume).generation == 3)
    cluster.sds[0].sealing = cluster.sds[1].sealing = True
    with cluster.failing_commits():
        for agent in cluster.sds:  # both seal, and what is decided from that is not kept
            beat = replace(agent.beat(), revision=0)
            agent.take(beat, cluster.beats.sds(agent.id, beat))
            beat = agent.beat()
            assert cluster.beats.sds(agent.id, beat).report_all
            agent.full = True
    assert cluster.turns.get(volume) is None
    assert cluster.row(volume).turn_open
    cluster.until(lambda: cluster.map_of().generation == 4)
    assert cluster.all_in_sync(volume)


def test_a_seal_of_a_report_that_was_kept_in_part_only_does_not_count(cluster, monkeypatch):
    """What went wrong had to do with another volume of the same report."""
    volume = cluster.mapped()
    agent, other = cluster.sds
    agent.sealing = other.sealing = False
    other.stop_servers()
    cluster.until(lambda: cluster.row(volume).generation == 3)
    agent.sealing = True
    beat = replace(agent.beat(), revision=0)
    agent.take(beat, cluster.beats.sds(agent.id, beat))

    def fails(*_args):
        raise RuntimeError("not foreseen")

    monkeypatch.setattr(sds_reports.SdsReports, "_apply_seal", _then(fails))
    with pytest.raises(RuntimeError):
        cluster.beats.sds(agent.id, agent.beat())
    monkeypatch.undo()
    assert cluster.turns.get(volume) is None, "a seal that the database does not know counts"
    other.sealing = True
    cluster.until(lambda: not cluster.row(volume).turn_open)
    cluster.until(lambda: cluster.all_in_sync(volume))


def _then(fails):
    """``_apply_seal``, and then what fails."""
    real = sds_reports.SdsReports._apply_seal

    def applied(*args):
        real(*args)
        fails()

    return applied


def test_a_suspicion_that_was_not_kept_does_not_count_against_the_device(cluster):
    volume = cluster.mapped()
    cluster.sdcs[0].plugin().suspect(cluster.device(1))
    with cluster.failing_commits():
        cluster.exchange(cluster.sdcs[0])
    assert cluster.row(volume).generation == 2
    cluster.until(lambda: cluster.map_of().generation == 3)
    assert cluster.all_in_sync(volume)


def test_a_database_older_than_what_an_sds_reports_activates_nothing_and_says_so(cluster):
    volume = cluster.create()
    cluster.sds[1].legs.clear()
    ahead, behind = cluster.sds[0], cluster.sds[1]
    for agent, generation in ((ahead, 9), (behind, 0)):
        device = next(iter(agent.paths))
        leg = type(next(iter(agent.legs.values()))) if agent.legs else None
        assert leg is None
        agent.take(agent.beat(), cluster.beats.sds(agent.id, replace(agent.beat(), revision=0)))
        agent.leg(volume).generation = generation or agent.leg(volume).generation
        assert agent.leg(volume).device_id == device
    cluster.step()
    with pytest.raises(errors.Conflict, match="older than what its SDSs hold"):
        cluster.map(volume)
    cluster.steps(60)
    assert not cluster.sdcs[0].maps
    row = cluster.row(volume)
    assert {replica.state for replica in row.replicas} == {"in_sync"}
    assert row.generation == 1
    assert any("restore the newest backup" in leg.error for leg in row.legs)
    assert ahead.leg(volume).generation == 9
    shown = volume_views.get(cluster.ctx, volume)["replicas"]
    (listed,) = volume_views.list_page(cluster.ctx, bodies.VolumePage(replicas=True))["items"]
    assert shown == listed["replicas"]
    assert {one["sds"]: "restore the newest backup" in one["error"] for one in shown} == {
        "sds1": True, "sds2": False,
    }  # fmt: skip


def test_an_older_database_found_out_in_an_open_turn_decides_nothing_more(cluster):
    volume = cluster.mapped()
    cluster.sds[0].sealing = False
    cluster.sds[1].stop_servers()
    cluster.until(lambda: cluster.row(volume).turn_open)
    cluster.sds[0].leg(volume).generation = 9
    cluster.steps(40)
    assert cluster.states(volume) == {"sds1": {"in_sync"}, "sds2": {"in_sync"}}
    assert cluster.map_of().generation == 2


def test_a_lower_term_is_refused_by_the_agent(cluster):
    agent = cluster.sds[0]
    newer = agent.term
    agent.term = newer + 1
    cluster.exchange(agent)
    assert [orders.term for orders in agent.refused] == [newer]


def test_a_plugin_s_status_is_kept_for_statistics(cluster):
    cluster.mapped()
    status = cluster.sdcs[0].plugin().status
    stats = messages.IoStats(reads=7)
    cluster.sdcs[0].plugin().status = replace(status, stats=stats)
    before = cluster.writes()
    cluster.exchange(cluster.sdcs[0])
    ((_, told),) = cluster.ctx.statistics.newest().values()
    assert told.stats.reads == 7
    assert cluster.writes() == before


def test_what_a_client_waits_for_is_shown_at_its_mapping(cluster):
    volume = cluster.mapped()
    status = cluster.sdcs[0].plugin().status
    cluster.sdcs[0].plugin().status = replace(status, waiting="column 1: sds1, sds2")
    cluster.exchange(cluster.sdcs[0])
    assert cluster.row(volume).mappings[0].error == "column 1: sds1, sds2"


def test_a_last_flush_that_waits_for_a_turn_does_not_keep_a_volume_from_being_unmapped(cluster):
    """Whoever unmaps goes on waiting; an error would say that the device is in use."""
    volume = cluster.mapped()
    cluster.unmap(volume)
    (mapping,) = cluster.row(volume).mappings
    status = replace(cluster.sdcs[0].plugin().status, waiting="waiting for the MDM's next map")
    report = messages.MappingReport(mapping.id, "detaching", status.incarnation, plugin=status)
    cluster.beats.sdc(cluster.sdcs[0].id, replace(cluster.sdcs[0].beat(), mappings=(report,)))
    assert cluster.row(volume).mappings[0].error == ""
    busy = replace(report, error="/dev/nbd0 is mounted")
    cluster.beats.sdc(cluster.sdcs[0].id, replace(cluster.sdcs[0].beat(), mappings=(busy,)))
    assert cluster.row(volume).mappings[0].error == "/dev/nbd0 is mounted"


def test_a_device_that_failed_does_not_come_back_by_itself(cluster):
    agent = cluster.sds[0]
    agent.fail_device(cluster.device(0))
    cluster.step()
    agent.failed.clear()
    cluster.steps(3)
    with cluster.ctx.uow.read() as tx:
        states = list(tx.session.scalars(select(models.Device.state).order_by(models.Device.path)))
    assert states == ["failed", "ok"]


def test_an_agent_that_waits_for_its_answer_is_not_taken_for_dead(cluster, monkeypatch):
    agent, orders_for = cluster.sds[0], heartbeats.orders.for_sds

    def slow(*args):
        cluster.clock.advance(30)  # a busy MDM
        return orders_for(*args)

    monkeypatch.setattr(heartbeats.orders, "for_sds", slow)
    cluster.exchange(agent)
    assert reach.agent(cluster.ctx, agent.id)[0] is health.Reach.UP
    cluster.clock.advance(30)
    assert reach.agent(cluster.ctx, agent.id)[0] is health.Reach.DOWN


def test_an_agents_news_goes_before_people_who_wait_for_the_database(cluster):
    agent = next(one for one in cluster.sds if not one.has_news())
    cluster.create("known")
    cluster.exchange(agent)
    assert agent.has_news(), "what it was ordered is done"
    turnstile = cluster.ctx.uow._turnstile
    people = threading.Thread(target=cluster.create, args=("new",))
    beat = threading.Thread(target=cluster.exchange, args=(agent,))
    with cluster.ctx.uow.write("somebody"):
        people.start()
        wait(lambda: len(turnstile._others) == 1)
        beat.start()
        wait(lambda: len(turnstile._urgent) == 1)
    people.join(30)
    beat.join(30)
    assert not agent.has_news()


def wait(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)

"""Scrubs at the MDM: who is ordered to do one, when, and what becomes of what is reported."""

from dataclasses import replace

import pytest
from sqlalchemy import select

from appliance.common import errors
from appliance.domain import scrubbing
from appliance.mdm import bodies
from appliance.mdm.db import models
from appliance.mdm.services import orders, pools, scrubs, volume_views, volumes
from appliance.protocol import messages

DAY_S = 86400.0


def act(cluster, volume, action):
    return scrubs.act(cluster.ctx, "test", volume, action)


def order(cluster, volume):
    """The scrub ordered now, and of which SDS."""
    with cluster.ctx.uow.read() as tx:
        (row,) = orders.load_volumes(tx, [volume])
        places = orders._places(tx, [row])
        found = {
            leg.device_id: orders.leg_order(row, leg.device_id, places).scrub for leg in row.legs
        }
    given = {device: scrub for device, scrub in found.items() if scrub is not None}
    assert len(given) <= 1
    return next(iter(given.items()), (None, None))


def report(cluster, volume, **changes):
    """What the scrubbing SDS tells, in its next heartbeat."""
    device, wanted = order(cluster, volume)
    agent = next(a for a in cluster.sds if device in a.paths)
    told = messages.ScrubReport(wanted.generation, wanted.scrub_id, 0)
    agent.leg(volume).scrub = replace(told, **changes)
    cluster.exchange(agent)


def scrub_of(cluster, volume):
    return volume_views.get(cluster.ctx, volume)["scrub"]


def test_a_mapped_volume_is_scrubbed_by_one_sds_under_its_clients_locks(cluster):
    volume = cluster.mapped()
    assert order(cluster, volume) == (None, None)
    assert act(cluster, volume, "start")["state"] == "running"
    device, wanted = order(cluster, volume)
    row = cluster.row(volume)
    assert device == row.replicas[0].device_id
    assert wanted.generation == row.generation
    assert len(wanted.clients) == 1
    assert [set(pair) for pair in wanted.columns] == [{r.device_id for r in row.replicas}]
    assert {leg.leg.device_id for leg in wanted.legs} == {r.device_id for r in row.replicas}
    assert all(leg.intents for leg in wanted.legs)
    assert wanted.bandwidth == 3 * 1024**2


def test_a_read_only_client_is_asked_for_no_lock(cluster):
    volume = cluster.mapped()
    with cluster.ctx.uow.write("test") as tx:
        tx.session.scalars(select(models.Mapping)).one().read_only = True
    act(cluster, volume, "start")
    assert order(cluster, volume)[1].clients == ()


def test_an_idle_volume_gets_servers_for_its_scrub_and_loses_them_after_it(cluster):
    volume = cluster.create()
    cluster.steps(10)
    assert not any(agent.leg(volume).server for agent in cluster.sds)
    act(cluster, volume, "start")
    cluster.until(lambda: order(cluster, volume)[1] is not None)
    assert order(cluster, volume)[1].clients == ()
    assert cluster.events("turn_began")[-1]["why"] == "a scrub needs servers"
    report(cluster, volume, done=True)
    assert scrub_of(cluster, volume)["state"] == "idle"
    cluster.until(lambda: not any(agent.leg(volume).server for agent in cluster.sds))


def test_nothing_is_scrubbed_while_a_copy_is_not_in_sync_and_it_goes_on_after(cluster):
    volume = cluster.mapped()
    act(cluster, volume, "start")
    counts = messages.ScrubCounts(4096, 1, 0, 0)
    report(cluster, volume, position=1 << 20, counts=counts)
    cluster.sds[1].stop_servers()
    cluster.sds[1].silent = True
    cluster.until(lambda: not cluster.all_in_sync(volume))
    cluster.steps(10)
    assert order(cluster, volume) == (None, None)
    cluster.sds[1].silent = False
    cluster.until(lambda: {"syncing"} in cluster.states(volume).values(), 30.0)
    assert order(cluster, volume) == (None, None)
    cluster.until(lambda: cluster.sds[1].leg(volume).copy is not None)
    cluster.sds[1].finish_copies()
    cluster.until(lambda: cluster.all_in_sync(volume))
    _, wanted = order(cluster, volume)
    assert (wanted.start, wanted.counts) == (1 << 20, counts)


def test_each_finding_is_told_once(cluster):
    volume = cluster.mapped()
    act(cluster, volume, "start")
    first = messages.ScrubFinding(1, 0, 0, 4096, "dev", True, "rot")
    second = replace(first, number=2, device_id="", repaired=False, why="who knows")
    report(cluster, volume, findings=(first,), counts=messages.ScrubCounts(0, 0, 1, 1))
    both = messages.ScrubCounts(0, 0, 2, 1)
    for _ in range(2):
        report(cluster, volume, findings=(first, second), counts=both)
    assert [e["device"] for e in cluster.events("scrub_repaired")] == ["dev"]
    assert [e["device"] for e in cluster.events("scrub_mismatch")] == [None]
    seen = scrub_of(cluster, volume)
    assert (seen["mismatches"], seen["repaired"]) == (2, 1)
    report(cluster, volume, done=True, counts=both)
    act(cluster, volume, "start")
    seen = scrub_of(cluster, volume)
    assert (seen["mismatches"], seen["total_mismatches"], seen["total_repaired"]) == (0, 2, 1)


def test_a_report_of_an_older_pass_or_generation_counts_for_nothing(cluster):
    volume = cluster.mapped()
    act(cluster, volume, "start")
    report(cluster, volume, scrub_id="another", done=True)
    report(cluster, volume, generation=1, done=True)
    assert scrub_of(cluster, volume)["state"] == "running"


def test_a_device_that_cannot_read_its_bytes_has_failed(cluster):
    volume = cluster.mapped()
    act(cluster, volume, "start")
    bad = cluster.device(1)
    report(cluster, volume, failed=(bad,), error="EIO")
    with cluster.ctx.uow.read() as tx:
        row = tx.session.get_one(models.Device, bad)
        assert (row.state, row.reason) == ("failed", "it could not read its own bytes")


def test_pause_resume_and_stop_keep_or_forget_where_it_was(cluster):
    volume = cluster.mapped()
    act(cluster, volume, "start")
    report(cluster, volume, position=1 << 20)
    act(cluster, volume, "pause")
    assert order(cluster, volume) == (None, None)
    with pytest.raises(errors.Conflict, match="being scrubbed already"):
        act(cluster, volume, "start")
    with pytest.raises(errors.Conflict, match="paused already"):
        act(cluster, volume, "pause")
    act(cluster, volume, "resume")
    assert order(cluster, volume)[1].start == 1 << 20
    act(cluster, volume, "stop")
    with pytest.raises(errors.Conflict, match="not being scrubbed"):
        act(cluster, volume, "stop")
    with pytest.raises(errors.Conflict, match="is not paused but idle"):
        act(cluster, volume, "resume")
    act(cluster, volume, "start")
    assert order(cluster, volume)[1].start == 0


def test_a_device_is_read_by_one_scrub_at_a_time(cluster):
    first, second = cluster.create("one"), cluster.create("two")
    act(cluster, first, "start")
    assert act(cluster, second, "start")["state"] == "queued"
    cluster.until(lambda: order(cluster, first)[1] is not None)
    report(cluster, first, done=True)
    assert scrub_of(cluster, second)["state"] == "running"


def test_volumes_are_scrubbed_when_they_are_due(cluster):
    volume = cluster.create()
    scrubs.run_once(cluster.ctx)
    assert scrub_of(cluster, volume) is None
    cluster.clock.advance(31 * DAY_S)
    scrubs.run_once(cluster.ctx)
    assert scrub_of(cluster, volume)["state"] == "running"
    cluster.until(lambda: order(cluster, volume)[1] is not None)
    report(cluster, volume, done=True)
    scrubs.run_once(cluster.ctx)
    assert scrub_of(cluster, volume)["state"] == "idle"
    cluster.clock.advance(31 * DAY_S)
    scrubs.run_once(cluster.ctx)
    assert scrub_of(cluster, volume)["state"] == "running"


def test_the_pools_policy_is_followed_by_passes_that_go_on(cluster):
    volume = cluster.mapped()
    act(cluster, volume, "start")

    def change(**values):
        body = bodies.PoolChange(scrub=bodies.ScrubChange(**values))
        return pools.update(cluster.ctx, "test", "pool", body)["scrub"]

    assert change(rate=1 << 20, repair=False) == {
        "enabled": True, "rate": 1 << 20, "repair": False, "interval_days": 30,
    }  # fmt: skip
    _, wanted = order(cluster, volume)
    assert (wanted.bandwidth, wanted.repair) == (1 << 20, False)
    change(enabled=False)
    assert scrub_of(cluster, volume)["state"] == "idle"
    cluster.clock.advance(100 * DAY_S)
    scrubs.run_once(cluster.ctx)
    assert scrub_of(cluster, volume)["state"] == "idle"


def test_a_deleted_volume_takes_its_scrub_along(cluster):
    volume = cluster.create()
    act(cluster, volume, "start")
    volumes.delete(cluster.ctx, "test", volume)
    cluster.steps(20)
    with cluster.ctx.uow.read() as tx:
        assert tx.session.scalars(select(models.Scrub)).all() == []
        assert tx.session.scalars(
            select(models.Job.state).where(models.Job.kind == "scrub")
        ).all() == ["failed"]


def test_the_rate_is_of_a_device_whatever_the_number_of_them():
    policy = scrubbing.policy({})
    assert policy.bandwidth(2) == 3 * 1024**2
    assert policy.bandwidth(6) == 9 * 1024**2
    assert scrubbing.policy({"scrub": {"rate": 0}}).bandwidth(6) == 0

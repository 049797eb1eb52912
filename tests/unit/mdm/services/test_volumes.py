"""Volumes are placed, reserved, grown and deleted with their numbers right."""

import dataclasses

import pytest
from sqlalchemy import event

from appliance.common import errors
from appliance.mdm import bodies
from appliance.mdm.db import models
from appliance.mdm.services import jobs, liveness, mappings, pools, volume_views, volumes
from tests.fakes import mdm_site

GIB = mdm_site.GIB
MIB = mdm_site.MIB
ACTOR = mdm_site.ACTOR


def create(site, name="v", size=GIB, **values):
    new = bodies.NewVolume(name=name, size_bytes=size, **values)
    return volumes.create(site.ctx, ACTOR, new)


def update(site, ref, **values):
    return volumes.update(site.ctx, ACTOR, ref, bodies.VolumeChange(**values))


def rows(site, ident):
    """(replicas, legs) of a volume."""
    with site.ctx.uow.read() as tx:
        row = tx.session.get_one(models.Volume, ident)
        return list(row.replicas), list(row.legs)


def test_a_new_volume_is_all_zero_on_every_replica_and_its_sdss_hear_of_it(site):
    site.ready(3)
    made = create(site)
    replicas, legs = rows(site, made["id"])
    assert len(replicas) == made["columns"] * 2 == 6
    assert {r.state for r in replicas} == {"in_sync"}
    assert {leg.device_id for leg in legs} == {r.device_id for r in replicas}
    assert all(leg.revision > 0 and leg.reserved_bytes == 0 for leg in legs)
    assert {kind for kind, _ in site.pokes[-3:]} == {"sds"}
    assert made == volume_views.get(site.ctx, "v")


@pytest.mark.parametrize(("devices", "columns"), [(2, 2), (5, 5), (9, 8)])
def test_columns_are_as_many_as_devices_up_to_eight(site, devices, columns):
    site.ready(devices)
    assert create(site)["columns"] == columns
    assert create(site, "w", columns=13)["columns"] == 13


def test_the_pool_may_be_left_out_only_where_there_is_one(site):
    with pytest.raises(errors.Invalid, match="there is no pool yet"):
        create(site)
    site.ready(2)
    site.pool("q")
    with pytest.raises(errors.Invalid, match="say which of the pools: p, q"):
        create(site)
    assert create(site, pool="p")["pool"] == "p"


def test_copies_need_two_fault_sets_and_the_refusal_counts(site):
    pool = site.pool()
    for name in ("a", "b"):
        site.device(site.sds(name, "rack"), pool)
    with pytest.raises(errors.NoCapacity, match=r"2 usable devices in 1 fault sets \(2 devices"):
        create(site)


def test_a_silent_sds_gets_no_new_volume_and_is_named(site):
    pool = site.pool()
    one, two = site.sds("one"), site.sds("two")
    for sds in (one, two):
        site.device(sds, pool)
    site.clock.advance(10)
    site.heard(one)
    with pytest.raises(errors.NoCapacity, match="not answering: two"):
        create(site)
    site.heard(two)
    assert create(site)["health"] == "healthy"


def test_thin_volumes_may_promise_ten_times_the_capacity(site):
    site.ready(2, capacity=10 * GIB)
    create(site, size=90 * GIB)
    with pytest.raises(errors.NoCapacity) as caught:
        create(site, "w", size=11 * GIB)
    assert "has 20 GiB and may promise 10 times as much, 200 GiB" in str(caught.value)
    assert "180 GiB are promised already and this needs 22 GiB" in str(caught.value)
    create(site, "w", size=10 * GIB)
    with pytest.raises(errors.NoCapacity):
        update(site, "w", size_bytes=10 * GIB + MIB)


def test_a_thick_volume_reserves_its_own_bytes_on_each_device(site):
    site.ready(3, capacity=10 * GIB)
    made = create(site, size=12 * GIB, thin=False)
    assert made["state"] == "allocating"
    _, legs = rows(site, made["id"])
    assert [leg.reserved_bytes for leg in legs] == [8 * GIB] * 3
    pool = pools.get(site.ctx, "p")
    assert (pool["reserved_bytes"], pool["free_bytes"]) == (24 * GIB, 6 * GIB)
    with pytest.raises(errors.NoCapacity, match=r"9 GiB must be reserved .* with 6 GiB free"):
        create(site, "w", size=9 * GIB // 2, thin=False)
    create(site, "w", size=3 * GIB, thin=False)


def test_spare_percent_and_limits_of_devices_are_kept_free(site):
    pool = site.pool(spare_percent=50)
    for name in ("a", "b"):
        device = site.device(site.sds(name), pool, capacity=100 * GIB)
        site.set(models.Device, device, limit_bytes=20 * GIB)
    assert pools.get(site.ctx, "p")["capacity_bytes"] == 40 * GIB
    with pytest.raises(errors.NoCapacity):
        create(site, size=11 * GIB, thin=False)
    create(site, size=10 * GIB, thin=False)


def test_a_thick_volume_is_ready_when_its_last_leg_is_allocated(site):
    site.ready(2)
    made = create(site, size=4 * GIB, thin=False)
    with site.ctx.uow.write("agent") as tx:
        row = tx.session.get_one(models.Volume, made["id"])
        row.legs[0].allocated = True
        volumes.allocated(tx, row)
        assert row.state == "allocating"
    with site.ctx.uow.write("agent") as tx:
        row = tx.session.get_one(models.Volume, made["id"])
        row.legs[1].allocated = True
        volumes.allocated(tx, row)
    assert volume_views.get(site.ctx, "v")["state"] == "ready"
    job = jobs.list_page(site.ctx, bodies.JobPage())["items"][0]
    assert (job["state"], job["done_bytes"]) == ("done", 8 * GIB)


def test_growing_a_thick_volume_reserves_more_or_says_what_lacks(site):
    site.ready(2, capacity=10 * GIB)
    made = create(site, size=4 * GIB, thin=False)
    with pytest.raises(errors.Conflict, match="wait until it is ready"):
        update(site, "v", size_bytes=5 * GIB)
    site.set(models.Volume, made["id"], state="ready")
    with pytest.raises(errors.NoCapacity, match=r"8 GiB more must be .* has 6 GiB free"):
        update(site, "v", size_bytes=12 * GIB)
    update(site, "v", size_bytes=10 * GIB)
    _, legs = rows(site, made["id"])
    assert {(leg.reserved_bytes, leg.allocated) for leg in legs} == {(10 * GIB, False)}


def test_a_change_makes_a_newer_map_and_tells_agents_and_no_change_does_not(site):
    site.ready(2)
    sdc = site.sdc("c")
    made = create(site)
    mappings.create(site.ctx, ACTOR, "v", bodies.NewMapping(sdc="c"))
    site.pokes.clear()
    changed = update(site, "v", name="w", wait_limit_s=0.0, shareable=True)
    assert changed["map_version"] == made["map_version"] + 1
    assert (changed["name"], changed["wait_limit_s"], changed["shareable"]) == ("w", 0.0, True)
    assert ("sdc", sdc) in site.pokes
    assert len(site.pokes) == 3
    assert update(site, "w", name="w")["map_version"] == changed["map_version"]
    assert len(site.pokes) == 3


def test_sharing_ends_only_with_one_client_left(site):
    site.ready(2)
    create(site, shareable=True)
    for name in ("c", "d"):
        site.sdc(name)
        mappings.create(site.ctx, ACTOR, "v", bodies.NewMapping(sdc=name))
    with pytest.raises(errors.InUse, match="mapped to c, d"):
        update(site, "v", shareable=False)


def test_deleting_frees_name_and_space_at_once_and_ends_with_the_last_leg(site):
    site.ready(2, capacity=10 * GIB)
    made = create(site, size=8 * GIB, thin=False)
    job = volumes.delete(site.ctx, ACTOR, "v")
    assert volumes.delete(site.ctx, ACTOR, made["id"]) == job
    shown = volume_views.get(site.ctx, made["id"])
    assert (shown["name"], shown["state"]) == ("v", "deleting")
    assert volume_views.list_page(site.ctx, bodies.VolumePage())["items"][0]["name"] == "v"
    with pytest.raises(errors.Conflict, match="being deleted"):
        update(site, made["id"], name="x")
    create(site, size=8 * GIB, thin=False)
    for _ in range(2):
        assert jobs.get(site.ctx, job)["state"] == "running"
        with site.ctx.uow.write("agent") as tx:
            volumes.leg_gone(tx, tx.session.get_one(models.Volume, made["id"]).legs[0])
    assert jobs.get(site.ctx, job)["state"] == "done"
    with pytest.raises(errors.NotFound):
        volume_views.get(site.ctx, made["id"])


def test_a_long_list_takes_as_many_queries_as_a_short_one(site):
    site.ready(3)
    counts = []
    seen = []
    event.listen(site.engine, "before_cursor_execute", lambda *args: seen.append(args[2]))
    for number in range(30):
        create(site, f"v{number:02}", size=MIB)
        seen.clear()
        volume_views.list_page(site.ctx, bodies.VolumePage(replicas=True))
        counts.append(len(seen))
    assert len(set(counts)) == 1


def test_health_follows_the_sdss_and_the_replicas(site):
    devices = site.ready(3)
    with site.ctx.uow.read() as tx:
        sds_of = {d.id: d.sds_id for d in (tx.session.get_one(models.Device, i) for i in devices)}
    made = create(site)

    def health():
        found = volume_views.get(site.ctx, "v")
        listed = volume_views.list_page(site.ctx, bodies.VolumePage())["items"][0]
        assert (found["health"], found["reason"]) == (listed["health"], listed["reason"])
        return found["health"]

    assert health() == "healthy"
    site.clock.advance(60)
    site.heard(*list(sds_of.values())[:2])
    assert health() == "degraded"
    site.clock.advance(60)
    site.heard(*list(sds_of.values())[:1])
    assert health() == "unhealthy"
    site.heard(*sds_of.values())
    site.set(models.Device, devices[0], state="failed")
    assert health() == "degraded"
    site.set(models.Device, devices[0], state="ok")
    site.set(models.Volume, made["id"], turn_open=True)
    assert health() == "degraded"


def test_health_is_unknown_for_a_moment_after_the_mdm_started(site):
    site.ready(2)
    create(site)
    now = site.clock.monotonic()
    restarted = dataclasses.replace(site.ctx, liveness=liveness.Liveness(), started=now)
    assert volume_views.get(restarted, "v")["health"] == "unknown"
    site.clock.advance(60)
    assert volume_views.get(restarted, "v")["health"] == "unhealthy"

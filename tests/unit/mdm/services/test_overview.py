"""The status names each problem and what to do about it."""

from dataclasses import replace

from appliance.mdm import bodies
from appliance.mdm.db import models
from appliance.mdm.services import (
    devices,
    figures,
    liveness,
    mappings,
    overview,
    peers,
    topology,
    volumes,
)
from tests.fakes import mdm_site

ACTOR = mdm_site.ACTOR
GIB = mdm_site.GIB


def by_component(site):
    return {p["component"]: p for p in overview.status(site.ctx)["problems"]}


def test_an_empty_cluster_is_healthy_and_says_what_there_is(site):
    status = overview.status(site.ctx)
    assert status["summary"] == (
        "The cluster is healthy: 0 of 0 SDSs answer, and there are no volumes yet."
    )
    assert status["problems"] == []


def test_a_dead_sds_degrades_the_cluster_and_its_volumes(site):
    site.ready(3)
    volumes.create(site.ctx, ACTOR, bodies.NewVolume(name="v", size_bytes=GIB))
    site.clock.advance(5)
    with site.ctx.uow.read() as tx:
        site.heard(*[row.id for row in tx.session.query(models.Sds) if row.name != "sds2"])
    status = overview.status(site.ctx)
    assert status["health"] == "degraded"
    assert status["summary"] == (
        "The cluster is degraded: 2 of 3 SDSs answer, 0 of 1 volumes are healthy, 2 problems."
    )
    found = by_component(site)
    assert found["sds/sds2"]["message"] == (
        "SDS sds2 is down: no heartbeat for 5 s; see whether its host and agent run"
    )
    assert "basalt-sds" in found["sds/sds2"]["what_to_do"]
    assert found["volume/v"]["severity"] == "warning"
    assert "sds2 is down" in found["volume/v"]["message"]
    assert status["devices"] == {"ok": 2, "unreachable": 1}
    assert status["devices_reason"] == "sds2 is down"
    site.clock.advance(60)
    assert overview.status(site.ctx)["health"] == "unhealthy"
    assert by_component(site)["volume/v"]["severity"] == "critical"


def test_a_failed_device_is_shown_with_its_sds(site):
    (device, _) = site.ready(2)
    site.set(models.Device, device, state="failed", reason="I/O error")
    found = by_component(site)["sds/sds1"]
    assert "degraded" in found["message"]
    assert "I/O error" in found["message"]
    assert found["what_to_do"] == "look at its devices (basalt sds show sds1)"
    assert figures.summary(figures.read(site.ctx)).value == "degraded"


def test_a_device_not_heard_of_yet_is_unknown_and_a_failed_one_failed_whoever_answers(site):
    (failed, _, _) = site.ready(3)
    site.set(models.Device, failed, state="failed", reason="I/O error")
    with site.ctx.uow.read() as tx:
        ids = {row.name: row.id for row in tx.session.query(models.Sds)}
    site.ctx = replace(site.ctx, liveness=liveness.Liveness())  # the MDM was restarted
    site.heard(ids["sds3"])
    status = overview.status(site.ctx)
    assert status["devices"] == {"failed": 1, "unknown": 1, "ok": 1}
    assert status["devices_reason"] == "sds2 is not heard of yet"
    listed = {d["sds"]: d for d in devices.list_page(site.ctx, bodies.Page())["items"]}
    assert [listed[name]["reach"] for name in ("sds1", "sds2", "sds3")] == [
        "unknown", "unknown", "up",
    ]  # fmt: skip


def test_a_pool_that_fills_up_warns_in_two_steps(site):
    for device in site.ready(2, capacity=100 * GIB):
        site.set(models.Device, device, free_bytes=15 * GIB)
    assert by_component(site)["pool/p"]["severity"] == "warning"
    assert "85 % full: 30 GiB of 200 GiB are free" in by_component(site)["pool/p"]["message"]
    with site.ctx.uow.read() as tx:
        every = list(tx.session.scalars(models.Device.__table__.select()))
    for device in every:
        site.set(models.Device, device, free_bytes=GIB)
    assert by_component(site)["pool/p"]["severity"] == "critical"


def test_clients_not_heard_yet_are_unknown_and_nobody_is_blamed(site):
    site.sdc("c")
    found = by_component(site)["sdc/c"]
    assert (found["severity"], found["what_to_do"]) == ("info", "wait a few seconds")
    assert overview.status(site.ctx)["health"] == "unknown"


def test_many_hurt_volumes_are_counted_after_the_first_twenty(site):
    site.ready(2)
    for number in range(25):
        new = bodies.NewVolume(name=f"v{number:02}", size_bytes=GIB)
        volumes.create(site.ctx, ACTOR, new)
    site.clock.advance(60)
    status = overview.status(site.ctx)
    hurt = [p for p in status["problems"] if p["component"].startswith("volume")]
    assert len(hurt) == 21
    assert hurt[-1]["message"] == "5 more volumes are not healthy"
    assert status["volumes"]["unhealthy"] == 25


def test_topology_shows_who_fails_together(site):
    pool = site.pool()
    site.device(site.sds("a", "rack"), pool)
    site.sds("b", "rack")
    site.sds("alone")
    sdc = site.sdc("c")
    tree = topology.tree(site.ctx)["domains"][0]
    sets = {found["name"]: [one["name"] for one in found["sds"]] for found in tree["fault_sets"]}
    assert sets == {None: ["alone"], "rack": ["a", "b"]}
    assert [found["name"] for found in tree["pools"]] == ["p"]
    components = topology.components(site.ctx, peers.Peers(site.ctx), "127.0.0.1", 6611)
    assert [(c["component_type"], c["name"]) for c in components] == [
        ("mdm", "mdm"), ("sds", "a"), ("sds", "alone"), ("sds", "b"), ("sdc", "c"),
    ]  # fmt: skip
    assert components[-1]["component_id"] == sdc


def test_a_mapped_client_shows_its_volumes(site):
    site.ready(2)
    site.sdc("c")
    volumes.create(site.ctx, ACTOR, bodies.NewVolume(name="v", size_bytes=GIB))
    mappings.create(site.ctx, ACTOR, "v", bodies.NewMapping(sdc="c"))
    assert topology.tree(site.ctx)["sdcs"][0]["volumes"] == ["v"]

"""Devices come and go with their SDS's knowledge, or, if it is gone for good, without it."""

import pytest

from appliance.common import errors
from appliance.mdm import bodies
from appliance.mdm.db import models
from appliance.mdm.services import devices, jobs, pools, sds, volume_views, volumes, withdrawal
from tests.fakes import mdm_site

ACTOR = mdm_site.ACTOR
GIB = mdm_site.GIB


def add(site, path="/srv/a", **values):
    return devices.create(
        site.ctx, ACTOR, bodies.NewDevice(sds="one", pool="p", path=path, **values)
    )


@pytest.fixture
def one(site):
    site.pool()
    return site.sds("one")


def test_a_new_device_waits_for_its_sds_which_is_told(site, one):
    made = add(site)
    assert (made["state"], made["reason"]) == ("adding", "waiting for the SDS to adopt it")
    assert site.pokes[-1] == ("sds", one)
    assert sds.get(site.ctx, "one")["devices"] == [made]


def test_a_pool_takes_devices_of_its_own_domain_and_media_only(site, one):
    with pytest.raises(errors.Conflict, match="takes ssd devices only"):
        add(site, media="hdd")
    site.set(models.Pool, pools.get(site.ctx, "p")["id"], media="hdd")
    assert add(site)["media"] == "hdd"
    with site.ctx.uow.write(ACTOR) as tx:
        tx.session.add(models.Domain(id="d", name="east", created_at=0.0))
    site.set(models.Sds, one, domain_id="d")
    with pytest.raises(errors.Conflict, match="different protection domains"):
        add(site, "/srv/b")


@pytest.mark.parametrize("path", ["/srv/a/b", "/srv"])
def test_devices_do_not_lie_inside_one_another(site, one, path):
    add(site)
    with pytest.raises(errors.Conflict, match="inside one another"):
        add(site, path)
    add(site, "/srv/ab")


def test_removal_waits_for_the_sds_and_asking_twice_is_the_same(site, one):
    ident = add(site)["id"]
    site.set(models.Device, ident, state="ok")
    job = devices.delete(site.ctx, ACTOR, ident, force=False)
    assert job is not None
    assert devices.delete(site.ctx, ACTOR, ident, force=False) == job
    assert devices.get(site.ctx, ident)["state"] == "removing"
    with site.ctx.uow.write("agent") as tx:
        devices.given_back(tx, tx.session.get_one(models.Device, ident))
    assert jobs.get(site.ctx, job)["state"] == "done"
    with pytest.raises(errors.NotFound):
        devices.get(site.ctx, ident)


def test_force_is_for_an_sds_that_is_gone_and_ends_deleted_volumes_too(site):
    first, second = site.ready(2)
    made = volumes.create(site.ctx, ACTOR, bodies.NewVolume(name="v", size_bytes=GIB))
    with pytest.raises(errors.InUse, match="replicas of v; remove it without force"):
        devices.delete(site.ctx, ACTOR, first, force=True)
    job = volumes.delete(site.ctx, ACTOR, "v")
    with pytest.raises(errors.Conflict, match="answers, so it must give the device back itself"):
        devices.delete(site.ctx, ACTOR, first, force=True)
    site.clock.advance(60)
    assert devices.delete(site.ctx, ACTOR, first, force=True) is None
    assert volume_views.get(site.ctx, made["id"])["state"] == "deleting"
    assert devices.delete(site.ctx, ACTOR, second, force=True) is None
    assert jobs.get(site.ctx, job)["state"] == "done"
    with pytest.raises(errors.NotFound):
        volume_views.get(site.ctx, made["id"])


def test_an_sds_with_devices_stays_and_names_them(site, one):
    for number in range(7):
        add(site, f"/srv/{number}")
    with pytest.raises(errors.InUse, match=r"it has 7 devices \(/srv/0, .* and 2 more\)"):
        withdrawal.remove(site.ctx, ACTOR, "one", evacuate=False)


def test_an_sds_with_many_volumes_names_some(site):
    site.ready(2)
    for number in range(7):
        new = bodies.NewVolume(name=f"v{number}", size_bytes=GIB)
        volumes.create(site.ctx, ACTOR, new)
    with pytest.raises(errors.InUse, match="replicas of v0, v1, v2, v3, v4 and 2 more"):
        withdrawal.remove(site.ctx, ACTOR, "sds1", evacuate=False)

"""Domains, fault sets, pools, agents and devices over HTTP: made, changed, forgotten."""

import pytest

from appliance.common import errors

V1 = "/api/v1"

NOUNS = {
    "domains": ({"name": "east"}, {"name": "west"}),
    "fault-sets": ({"name": "f9", "domain": "default"}, {"name": "f10"}),
    "pools": ({"name": "fast"}, {"name": "faster", "warn_percent": 50}),
}


@pytest.mark.parametrize("noun", NOUNS)
def test_nouns_are_made_listed_changed_and_deleted(mdm, noun):
    new, change = NOUNS[noun]
    made = mdm.api.post(f"{V1}/{noun}", new)
    listed = mdm.api.get(f"{V1}/{noun}")["items"]
    assert made in listed
    assert listed == sorted(listed, key=lambda item: item["name"])
    changed = mdm.api.patch(f"{V1}/{noun}/{made['id']}", change)
    assert changed == {**made, **change}
    assert mdm.api.patch(f"{V1}/{noun}/{made['id']}", change) == changed
    assert mdm.api.get(f"{V1}/{noun}/{change['name']}") == changed
    with pytest.raises(errors.AlreadyExists):
        mdm.api.post(f"{V1}/{noun}", {**new, "name": change["name"]})
    mdm.api.delete(f"{V1}/{noun}/{change['name']}")
    with pytest.raises(errors.NotFound):
        mdm.api.get(f"{V1}/{noun}/{made['id']}")
    kinds = [e["kind"] for e in mdm.api.get(f"{V1}/events", subject=made["id"])["items"]]
    assert len(kinds) == 3  # the change that changed nothing is no event
    assert kinds[-1].endswith("_deleted")


@pytest.mark.parametrize(("noun", "name"), [("sds", "sds1"), ("sdcs", "sdc1")])
def test_agents_are_renamed_by_people_and_go_on(mdm, noun, name):
    shown = mdm.api.get(f"{V1}/{noun}/{name}")
    assert (shown["health"], shown["version"]) == ("healthy", "0.1.0")
    assert mdm.api.patch(f"{V1}/{noun}/{name}", {"name": "other"})["name"] == "other"
    mdm.beat()
    assert mdm.api.get(f"{V1}/{noun}/other")["id"] == shown["id"]
    taken = {"sds": "sds2", "sdcs": "sdc2"}[noun]
    if noun == "sdcs":
        mdm.add_sdc(taken)
    with pytest.raises(errors.AlreadyExists):
        mdm.api.patch(f"{V1}/{noun}/other", {"name": taken})


def test_a_client_without_volumes_is_forgotten_and_its_secret_ends(mdm):
    mdm.api.delete(f"{V1}/sdcs/sdc1")
    with pytest.raises(errors.Unauthenticated):
        mdm.sdcs["sdc1"].beat()


def test_one_name_in_two_domains_needs_the_id(mdm):
    mdm.api.post(f"{V1}/domains", {"name": "east"})
    other = mdm.api.post(f"{V1}/pools", {"name": "p", "domain": "east"})
    with pytest.raises(errors.Conflict, match="2 pools named 'p'"):
        mdm.api.get(f"{V1}/pools/p")
    assert mdm.api.get(f"{V1}/pools/{other['id']}")["domain"] == "east"


def test_a_refused_device_shows_why_and_goes_at_once(mdm):
    agent = mdm.sds["sds1"]
    agent.refuse["/srv/foreign"] = "it is not empty"
    made = mdm.api.post(f"{V1}/devices", {"sds": "sds1", "path": "/srv/foreign", "pool": "p"})
    assert made["state"] == "adding"
    mdm.beat(3)
    shown = mdm.api.get(f"{V1}/devices/{made['id']}")
    assert (shown["state"], shown["reason"]) == ("refused", "it is not empty")
    assert mdm.api.get(f"{V1}/sds/sds1")["health"] == "degraded"
    assert mdm.api.delete(f"{V1}/devices/{made['id']}") is None
    with pytest.raises(errors.NotFound):
        mdm.api.get(f"{V1}/devices/{made['id']}")


def test_a_device_is_given_back_before_it_and_its_sds_are_forgotten(mdm):
    device = mdm.api.get(f"{V1}/sds/sds3")["devices"][0]
    with pytest.raises(errors.InUse, match="1 devices"):
        mdm.api.delete(f"{V1}/sds/sds3")
    job = mdm.api.delete(f"{V1}/devices/{device['id']}")["job"]
    mdm.beat(3)
    assert mdm.api.get(f"{V1}/jobs/{job}")["state"] == "done"
    mdm.api.delete(f"{V1}/sds/sds3")
    mdm.sds.pop("sds3").close()
    assert [item["name"] for item in mdm.api.get(f"{V1}/sds")["items"]] == ["sds1", "sds2"]

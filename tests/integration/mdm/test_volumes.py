"""Volumes and their mappings over HTTP, one caller or a hundred at once."""

import concurrent.futures

import pytest

from appliance.common import errors
from appliance.rest import client
from tests.fakes import running_mdm

GIB = running_mdm.GIB
MIB = running_mdm.MIB
V1 = "/api/v1"


def test_a_volume_is_placed_shown_renamed_grown_and_deleted(mdm):
    made = mdm.volume("v")
    assert made["columns"] == 3
    assert (made["state"], made["health"], made["size_bytes"]) == ("ready", "healthy", GIB)
    for column in range(3):
        own = [r for r in made["replicas"] if r["column"] == column]
        assert len({r["sds"] for r in own}) == 2
    mdm.beat(3)
    changed = mdm.api.patch(f"{V1}/volumes/v", {"name": "w", "size_bytes": 2 * GIB})
    assert (changed["name"], changed["size_bytes"]) == ("w", 2 * GIB)
    assert changed["map_version"] > made["map_version"]
    with pytest.raises(errors.NotFound):
        mdm.api.get(f"{V1}/volumes/v")
    mdm.beat(4)
    job = mdm.api.delete(f"{V1}/volumes/w")["job"]
    assert mdm.api.get(f"{V1}/jobs/{job}")["state"] == "running"
    with pytest.raises(errors.NotFound):
        mdm.api.get(f"{V1}/volumes/w")
    mdm.volume("w")  # the name is free at once
    mdm.api.delete(f"{V1}/volumes/w")
    mdm.beat(4)
    assert mdm.api.get(f"{V1}/volumes")["items"] == []
    assert mdm.api.get(f"{V1}/jobs/{job}")["state"] == "done"
    assert all(not agent.legs for agent in mdm.sds.values())


def test_a_thick_volume_is_ready_when_all_its_space_is_reserved(mdm):
    made = mdm.volume("thick", size_bytes=30 * GIB, thin=False)
    assert made["state"] == "allocating"
    assert mdm.api.get(f"{V1}/pools/p")["reserved_bytes"] == 60 * GIB
    with pytest.raises(errors.Conflict, match="allocating"):
        mdm.api.post(f"{V1}/volumes/thick/mappings", {"sdc": "sdc1"})
    mdm.beat(3)
    assert mdm.api.get(f"{V1}/volumes/thick")["state"] == "ready"
    job = mdm.api.get(f"{V1}/jobs")["items"][0]
    assert (job["kind"], job["state"], job["percent"]) == ("volume_allocate", "done", 100.0)


def test_a_volume_is_mapped_to_one_client_unless_it_is_shareable(mdm):
    mdm.add_sdc("sdc2")
    mdm.volume("v")
    made = mdm.api.post(f"{V1}/volumes/v/mappings", {"sdc": "sdc1", "read_only": True})
    assert (made["state"], made["read_only"], made["backend"]) == ("attaching", True, "auto")
    with pytest.raises(errors.Conflict, match="mapped to 'sdc1' already"):
        mdm.api.post(f"{V1}/volumes/v/mappings", {"sdc": "sdc1"})
    with pytest.raises(errors.Conflict, match="not shareable"):
        mdm.api.post(f"{V1}/volumes/v/mappings", {"sdc": "sdc2"})
    with pytest.raises(errors.InUse, match="mapped to sdc1; unmap it first"):
        mdm.api.delete(f"{V1}/volumes/v")
    with pytest.raises(errors.InUse, match="volumes mapped"):
        mdm.api.delete(f"{V1}/sdcs/sdc1")
    mdm.api.patch(f"{V1}/volumes/v", {"shareable": True})
    mdm.api.post(f"{V1}/volumes/v/mappings", {"sdc": "sdc2"})
    mdm.beat(8)
    shown = mdm.api.get(f"{V1}/volumes/v")
    assert [m["sdc"] for m in shown["mappings"]] == ["sdc1", "sdc2"]
    assert [m["state"] for m in shown["mappings"]] == ["attached", "attached"]
    for sdc in ("sdc1", "sdc2"):
        gone = mdm.api.delete(f"{V1}/volumes/v/mappings/{sdc}")
        assert gone["state"] == "detaching"
    mdm.beat(8)
    assert mdm.api.get(f"{V1}/volumes/v")["mappings"] == []


def test_a_mapping_is_shown_by_client_or_id(mdm):
    mdm.volume("v")
    made = mdm.api.post(f"{V1}/volumes/v/mappings", {"sdc": "sdc1"})
    for ref in ("sdc1", made["sdc_id"], made["id"]):
        assert mdm.api.get(f"{V1}/volumes/v/mappings/{ref}") == made


def test_force_ends_a_mapping_that_no_client_ever_started(mdm):
    mdm.volume("v")
    mdm.api.post(f"{V1}/volumes/v/mappings", {"sdc": "sdc1"})
    mdm.api.delete(f"{V1}/volumes/v/mappings/sdc1", force=True)
    assert mdm.api.get(f"{V1}/volumes/v/mappings")["items"] == []


def test_an_unapproved_client_gets_nothing(mdm):
    mdm.volume("v")
    assert mdm.api.patch(f"{V1}/sdcs/sdc1", {"approved": False})["approved"] is False
    with pytest.raises(errors.Conflict, match="basalt sdc approve sdc1"):
        mdm.api.post(f"{V1}/volumes/v/mappings", {"sdc": "sdc1"})


@pytest.mark.alone
def test_many_clients_at_once_lose_no_update(mdm):
    def one(number: int) -> None:
        mine = client.Client([mdm.url], mdm.admin_token, timeout_s=60.0)
        mine.post(f"{V1}/volumes", {"name": f"c{number}", "size_bytes": MIB})
        mine.get(f"{V1}/volumes/c{number}")
        mine.get(f"{V1}/volumes", limit=10)
        mine.patch(f"{V1}/volumes/c{number}", {"size_bytes": 2 * MIB})
        mine.get(f"{V1}/status")
        mine.close()

    with concurrent.futures.ThreadPoolExecutor(100) as threads:
        list(threads.map(one, range(100)))
    listed = mdm.api.get(f"{V1}/volumes")["items"]
    assert len(listed) == 100
    assert {item["size_bytes"] for item in listed} == {2 * MIB}
    revision = mdm.api.get(f"{V1}/cluster")["revision"]
    assert revision >= 200  # each change had its own

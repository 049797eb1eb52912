"""What people look at over HTTP: lists in pages, events, health, figures, topology."""

import json

from tests.fakes import running_mdm

GIB = running_mdm.GIB
MIB = running_mdm.MIB
V1 = "/api/v1"

NEW = {"name": "new", "size_bytes": GIB}


def test_created_things_have_a_location_where_they_are(mdm):
    made = mdm.raw("POST", f"{V1}/volumes", json.dumps(NEW).encode())
    assert made.status == 201
    assert mdm.api.get(made.headers["Location"]) == made.json()
    assert mdm.api.get(f"{V1}/volumes/new") == made.json()


def test_lists_come_in_pages(mdm):
    for number in range(7):
        mdm.volume(f"v{number}", size_bytes=MIB)
    names, after = [], None
    while True:
        page = mdm.api.get(f"{V1}/volumes", limit=3, after=after)
        names += [item["name"] for item in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert names == [f"v{n}" for n in range(7)]
    first = mdm.api.get(f"{V1}/events", limit=3)
    rest = mdm.api.get(f"{V1}/events", after=first["next"])
    assert len(first["items"]) == 3
    assert rest["items"][0]["seq"] > first["items"][-1]["seq"]
    newest = mdm.api.get(f"{V1}/jobs", limit=1)
    assert newest["next"] is None


def test_a_list_has_replicas_only_if_asked(mdm):
    mdm.volume("v")
    assert "replicas" not in mdm.api.get(f"{V1}/volumes")["items"][0]
    listed = mdm.api.get(f"{V1}/volumes", replicas=True)["items"][0]
    assert len(listed["replicas"]) == 2 * listed["columns"]
    shown = mdm.api.get(f"{V1}/volumes/v")
    assert listed == {key: value for key, value in shown.items() if key != "scrub"}


def test_every_change_is_an_event_with_who_and_the_request_id(mdm):
    mdm.raw("POST", f"{V1}/volumes", json.dumps(NEW).encode(), **{"X-Request-Id": "my-request"})
    event = mdm.api.get(f"{V1}/events", subject="new")["items"][0]
    assert event["request_id"] == "my-request"
    assert (event["who"], event["kind"], event["subject_kind"]) == (
        "admin", "volume_created", "volume",
    )  # fmt: skip
    assert event["detail"]["size_bytes"] == GIB


def test_health_metrics_and_topology_agree(mdm):
    mdm.volume("v")
    status = mdm.api.get(f"{V1}/status")
    assert (status["health"], status["problems"]) == ("healthy", [])
    assert status["roles"]["sds"] == {"total": 3, "up": 3, "down": 0, "unknown": 0}
    assert "1 of 1 volumes are healthy" in status["summary"]
    assert status["capacity"]["provisioned_bytes"] == 2 * GIB
    components = mdm.api.get("/health/components")
    assert [c["component_type"] for c in components] == ["mdm", "sds", "sds", "sds", "sdc"]
    assert {c["state"] for c in components} == {"healthy"}
    assert mdm.api.get("/health/metrics")["volumes"]["healthy"] == 1
    tree = mdm.api.get("/discovery/topology")
    assert [f["name"] for f in tree["domains"][0]["fault_sets"]] == ["fs1", "fs2", "fs3"]
    numbers = mdm.api.get("/metrics/cluster")
    assert numbers["database_bytes"] > 0
    text = mdm.raw("GET", "/metrics").data.decode()
    assert 'basalt_volumes{health="healthy"} 1.0' in text
    assert "basalt_mdm_database_bytes" in text
    root = mdm.api.get("/")
    assert root["role"] == "mdm"
    assert all(mdm.raw("GET", link).status == 200 for link in root["links"].values() if link != V1)

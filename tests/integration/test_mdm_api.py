"""The MDM over HTTP: what people and agents do, and what they are told when they do it wrong."""

import concurrent.futures
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.common import errors
from appliance.protocol import codec, messages
from appliance.rest import client
from tests.fakes import running_mdm

GIB = running_mdm.GIB
MIB = running_mdm.MIB
V1 = "/api/v1"


@pytest.fixture
def mdm(tmp_path: Path) -> Iterator[running_mdm.RunningMdm]:
    running = running_mdm.RunningMdm(tmp_path / "mdm")
    running.build()
    yield running
    running.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[running_mdm.RunningMdm]:
    """For tests whose requests are all refused: they change nothing."""
    running = running_mdm.RunningMdm(tmp_path_factory.mktemp("shared") / "mdm")
    running.build()
    running.volume("v1")
    running.volume("v2")
    running.beat(3)
    yield running
    running.close()


def everything(mdm: running_mdm.RunningMdm) -> Any:
    """All that people can see, without what moves by itself."""
    nouns = ("domains", "fault-sets", "pools", "volumes", "devices", "jobs", "events", "tokens")
    return [mdm.api.get(f"{V1}/{noun}") for noun in nouns]


@pytest.fixture(autouse=True)
def _nothing_goes_wrong_unseen(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The MDM runs in this process: what it logs is here."""
    yield
    assert not [r.getMessage() for r in caplog.get_records("call") if r.levelname == "ERROR"]


# --- bad input ------------------------------------------------------------------------------

GOOD = {"name": "new", "size_bytes": GIB}

BAD_BODIES = {
    "unknown field": ("volumes", {**GOOD, "colour": "red"}, 400, "colour: unknown field"),
    "wrong type": ("volumes", {**GOOD, "size_bytes": "1 GiB"}, 400, "size_bytes"),
    "bool for a number": ("volumes", {**GOOD, "size_bytes": True}, 400, "size_bytes"),
    "float for a number": ("volumes", {**GOOD, "size_bytes": 1.5 * GIB}, 400, "size_bytes"),
    "negative size": ("volumes", {**GOOD, "size_bytes": -GIB}, 400, "size_bytes"),
    "no size": ("volumes", {"name": "new"}, 400, "size_bytes: a value is needed"),
    "zero size": ("volumes", {**GOOD, "size_bytes": 0}, 400, "size_bytes"),
    "huge size": ("volumes", {**GOOD, "size_bytes": 2**70}, 400, "size_bytes"),
    "odd size": ("volumes", {**GOOD, "size_bytes": GIB + 1}, 400, "no multiple of 1 MiB"),
    "size beyond the pool": ("volumes", {**GOOD, "size_bytes": 2 * 1024 * GIB}, 409, "may promise"),
    "thick beyond the pool": (
        "volumes", {**GOOD, "size_bytes": 200 * GIB, "thin": False}, 409, "must be reserved",
    ),
    "duplicate name": ("volumes", {**GOOD, "name": "v1"}, 409, "exists already"),
    "name with a slash": ("volumes", {**GOOD, "name": "a/b"}, 400, "is no name"),
    "empty name": ("volumes", {**GOOD, "name": ""}, 400, "is no name"),
    "long name": ("volumes", {**GOOD, "name": "x" * 64}, 400, "is no name"),
    "name like an id": ("volumes", {**GOOD, "name": "0123456789abcdef"}, 400, "looks like an id"),
    "lone surrogate": ("volumes", {**GOOD, "name": "\ud800"}, 400, ""),
    "columns beyond the limit": ("volumes", {**GOOD, "columns": 65}, 400, "columns"),
    "endless wait": ("volumes", {**GOOD, "wait_limit_s": 1e400}, 400, "wait_limit_s"),
    "pool not there": ("volumes", {**GOOD, "pool": "none"}, 404, "no pool 'none'"),
    "pool id not there": ("volumes", {**GOOD, "pool": "0" * 16}, 404, "no pool"),
    "not an object": ("volumes", [GOOD], 400, "body"),
    "path outside": ("devices", {"sds": "sds1", "pool": "p", "path": "/srv/../etc"}, 400, "path"),
    "path not absolute": ("devices", {"sds": "sds1", "pool": "p", "path": "srv"}, 400, "absolute"),
    "path of the system": ("devices", {"sds": "sds1", "pool": "p", "path": "/etc/x"}, 400, "made"),
    "path with a NUL": ("devices", {"sds": "sds1", "pool": "p", "path": "/a\0b"}, 400, "path"),
    "path in use": (
        "devices", {"sds": "sds1", "pool": "p", "path": "/srv/basalt"}, 409, "exists already",
    ),
    "path in a device": (
        "devices", {"sds": "sds1", "pool": "p", "path": "/srv/basalt/x"}, 409, "inside one another",
    ),
    "wrong media": (
        "devices", {"sds": "sds1", "pool": "p", "path": "/x", "media": "hdd"}, 409, "ssd devices",
    ),
    "sds not there": ("devices", {"sds": "none", "pool": "p", "path": "/x"}, 404, "no sds 'none'"),
    "duplicate pool": ("pools", {"name": "p"}, 409, "exists already"),
    "percent beyond 100": ("pools", {"name": "q", "warn_percent": 101}, 400, "warn_percent"),
    "thresholds crossed": ("pools", {"name": "q", "warn_percent": 95}, 400, "critical_percent"),
    "duplicate domain": ("domains", {"name": "default"}, 409, "exists already"),
    "fault set in no domain": ("fault-sets", {"name": "f", "domain": "x"}, 404, "no domain 'x'"),
    "duplicate token": ("tokens", {"name": "admin", "role": "join"}, 409, "exists already"),
    "unknown role": ("tokens", {"name": "t", "role": "king"}, 400, "role"),
    "map to nobody": ("volumes/v1/mappings", {"sdc": "none"}, 404, "no sdc 'none'"),
    "unknown backend": ("volumes/v1/mappings", {"sdc": "sdc1", "backend": "x"}, 400, "backend"),
    "map nothing": ("volumes/none/mappings", {"sdc": "sdc1"}, 404, "no volume 'none'"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_BODIES)
def test_bad_input_is_refused_with_a_sentence_and_changes_nothing(shared, case):
    noun, body, status, words = BAD_BODIES[case]
    before = everything(shared)
    answer = shared.raw("POST", f"{V1}/{noun}", json.dumps(body).encode())
    assert answer.status == status, answer.data
    told = answer.json()
    assert words in told["description"]
    assert told["code"] in ("invalid", "not_found", "already_exists", "conflict", "no_capacity")
    assert told["request_id"] == answer.headers["X-Request-Id"]
    assert everything(shared) == before


BAD_REQUESTS = {
    "broken JSON": ("POST", "/volumes", b'{"name": "new", ', 400, "invalid"),
    "no UTF-8": ("POST", "/volumes", b'{"name": "\xff"}', 400, "invalid"),
    "deep JSON": ("POST", "/volumes", b"[" * 100_000, 400, "invalid"),
    "no body": ("POST", "/volumes", None, 400, "invalid"),
    "unknown id": ("GET", f"/volumes/{'0' * 16}", None, 404, "not_found"),
    "unknown name": ("GET", "/volumes/none", None, 404, "not_found"),
    "name with signs": ("GET", "/volumes/%00%ff..", None, 404, "not_found"),
    "unknown path": ("GET", "/nothing", None, 404, "not_found"),
    "wrong method": ("PUT", "/volumes", b"{}", 405, "invalid"),
    "unknown parameter": ("GET", "/volumes?colour=red", None, 400, "invalid"),
    "limit too high": ("GET", "/volumes?limit=1001", None, 400, "invalid"),
    "limit no number": ("GET", "/volumes?limit=many", None, 400, "invalid"),
    "limit twice": ("GET", "/volumes?limit=1&limit=2", None, 400, "invalid"),
    "event beyond counting": ("GET", f"/events?after={10**30}", None, 400, "invalid"),
    "job cursor broken": ("GET", "/jobs?after=yesterday~x", None, 400, "invalid"),
    "change of nothing": ("PATCH", "/volumes/v1", b"{}", 400, "invalid"),
    "change of nulls": ("PATCH", "/volumes/v1", b'{"name": null}', 400, "invalid"),
    "shrink": ("PATCH", "/volumes/v1", b'{"size_bytes": 1048576}', 400, "invalid"),
    "rename to a taken name": ("PATCH", "/volumes/v1", b'{"name": "v2"}', 409, "already_exists"),
    "grow beyond the pool": (
        "PATCH", "/volumes/v1", b'{"size_bytes": 10995116277760}', 409, "no_capacity",
    ),
    "delete a pool in use": ("DELETE", "/pools/p", None, 409, "in_use"),
    "delete a domain in use": ("DELETE", "/domains/default", None, 409, "in_use"),
    "delete a fault set in use": ("DELETE", "/fault-sets/fs1", None, 409, "in_use"),
    "delete an SDS in use": ("DELETE", "/sds/sds1", None, 409, "in_use"),
    "delete the last administrator": ("DELETE", "/tokens/admin", None, 409, "in_use"),
    "unmap what is not mapped": ("DELETE", "/volumes/v1/mappings/sdc1", None, 404, "not_found"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_bad_requests_are_refused_with_a_code_and_change_nothing(shared, case):
    method, path, body, status, code = BAD_REQUESTS[case]
    before = everything(shared)
    answer = shared.raw(method, V1 + path, body)
    assert (answer.status, answer.json()["code"]) == (status, code), answer.data
    assert everything(shared) == before


def test_a_hundred_mebibyte_body_is_refused_before_it_is_read(shared):
    before = everything(shared)
    answer = shared.raw("POST", f"{V1}/volumes", b" " * (100 * MIB))
    assert (answer.status, answer.json()["code"]) == (413, "too_large")
    assert everything(shared) == before


def test_used_things_name_their_users(shared):
    with pytest.raises(errors.InUse, match=r"its devices hold replicas of v1, v2; delete those"):
        shared.api.delete(f"{V1}/sds/sds1")
    device = shared.api.get(f"{V1}/sds/sds1")["devices"][0]
    with pytest.raises(errors.InUse, match=r"it holds replicas of v1, v2"):
        shared.api.delete(f"{V1}/devices/{device['id']}")


# --- tokens ---------------------------------------------------------------------------------


def paths(mdm: running_mdm.RunningMdm) -> list[tuple[str, str]]:
    document = mdm.api.get(f"{V1}/openapi.json")
    return [(m.upper(), path) for path, of in document["paths"].items() for m in of]


@pytest.mark.parametrize("token", ["", "wrong", "\u00fc".encode().decode("latin-1")])
def test_no_endpoint_but_health_answers_without_a_good_token(shared, token):
    for method, path in [*paths(shared), ("GET", "/nothing"), ("GET", "/health/")]:
        answer = shared.raw(method, path, token=token)
        if path == "/health":
            assert answer.status == 200
        else:
            assert (answer.status, answer.json()["code"]) == (401, "unauthenticated"), path


def test_health_without_a_token_tells_nothing_of_the_cluster(shared):
    assert shared.raw("GET", "/health", token="").json() == {
        "live": True,
        "ready": True,
        "status": "healthy",
        "reasons": [],
    }


def test_an_agents_secret_opens_its_own_heartbeat_only(shared):
    own = shared.sds["sds1"].identity
    other = shared.sds["sds2"].identity
    mine = f"{V1}/agents/sds/{own.id}/heartbeat"
    beat = {"session": "s", "boot_id": "b", "revision": 10**9, "full": False}
    allowed = {
        ("GET", "/"),
        ("GET", f"{V1}/cluster"),
        ("GET", f"{V1}/openapi.json"),
        ("GET", "/health"),
    }
    for method, path in paths(shared):
        real = path.replace("{ident}", other.id)
        answer = shared.raw(method, real, token=own.secret)
        assert answer.status == (200 if (method, path) in allowed else 403), (method, path)
    answer = shared.raw("POST", mine, json.dumps(beat).encode(), token=own.secret)
    assert answer.status == 200
    assert shared.raw("POST", mine, json.dumps(beat).encode()).status == 403


def test_the_join_token_opens_registration_only(shared):
    for method, path in paths(shared):
        if path in (f"{V1}/agents/sds", f"{V1}/agents/sdc", "/health"):
            continue
        assert shared.raw(method, path, token=shared.join_token).status == 403, path


def test_token_files_are_for_their_owner_only(shared):
    for name in ("admin.token", "join.token"):
        assert (shared.folder / name).stat().st_mode & 0o777 == 0o600


def test_tokens_are_made_used_and_withdrawn(mdm):
    made = mdm.api.post(f"{V1}/tokens", {"name": "robot", "role": "administrator"})
    robot = client.Client([mdm.url], made["token"])
    robot.post(f"{V1}/domains", {"name": "by-robot"})
    event = mdm.api.get(f"{V1}/events", subject="by-robot")["items"][0]
    assert (event["who"], event["kind"]) == ("robot", "domain_created")
    listed = mdm.api.get(f"{V1}/tokens")["items"]
    assert all("token" not in item and "hash" not in item for item in listed)
    mdm.api.delete(f"{V1}/tokens/robot")
    with pytest.raises(errors.Unauthenticated):
        robot.get(f"{V1}/cluster")
    robot.close()


def test_an_agent_registers_again_with_its_secret_only(mdm):
    agent = mdm.sds["sds1"]
    before = agent.identity
    agent.register(before.secret)
    assert agent.identity == before
    with pytest.raises(errors.Conflict, match="basalt sds remove sds1"):
        agent.register()
    with pytest.raises(errors.Conflict, match="SDC 'sdc1' is registered"):
        mdm.add_sdc("sdc1")


# --- the life of things ---------------------------------------------------------------------


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


def test_a_token_is_shown_without_itself(mdm):
    shown = mdm.api.get(f"{V1}/tokens/admin")
    assert set(shown) == {"id", "name", "role", "created_at"}


def test_a_mapping_is_shown_by_client_or_id(mdm):
    mdm.volume("v")
    made = mdm.api.post(f"{V1}/volumes/v/mappings", {"sdc": "sdc1"})
    for ref in ("sdc1", made["sdc_id"], made["id"]):
        assert mdm.api.get(f"{V1}/volumes/v/mappings/{ref}") == made


def test_created_things_have_a_location_where_they_are(mdm):
    made = mdm.raw("POST", f"{V1}/volumes", json.dumps(GOOD).encode())
    assert made.status == 201
    assert mdm.api.get(made.headers["Location"]) == made.json()
    assert mdm.api.get(f"{V1}/volumes/new") == made.json()


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
    assert listed == mdm.api.get(f"{V1}/volumes/v")


def test_every_change_is_an_event_with_who_and_the_request_id(mdm):
    mdm.raw("POST", f"{V1}/volumes", json.dumps(GOOD).encode(), **{"X-Request-Id": "my-request"})
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


# --- many at once ---------------------------------------------------------------------------


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


def test_a_report_of_a_wrong_shape_is_refused(shared):
    agent = shared.sds["sds1"].identity
    beat = codec.to_json(messages.SdsHeartbeat("s", "b", 0, True))
    for field, value in (("revision", "1"), ("full", 1), ("devices", {}), ("legs", [1])):
        body = json.dumps({**beat, field: value}).encode()
        answer = shared.raw(
            "POST", f"{V1}/agents/sds/{agent.id}/heartbeat", body, token=agent.secret
        )
        assert (answer.status, answer.json()["code"]) == (400, "invalid")

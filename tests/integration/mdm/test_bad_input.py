"""Bad input over HTTP: refused with a code and a sentence, and nothing is changed."""

import json
from typing import Any

import pytest

from appliance.common import errors
from appliance.protocol import codec, messages
from tests.fakes import running_mdm

GIB = running_mdm.GIB
MIB = running_mdm.MIB
V1 = "/api/v1"

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


def everything(mdm: running_mdm.RunningMdm) -> Any:
    """All that people can see, without what moves by itself."""
    nouns = ("domains", "fault-sets", "pools", "volumes", "devices", "jobs", "events", "tokens")
    return [mdm.api.get(f"{V1}/{noun}") for noun in nouns]


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
    "event order unknown": ("GET", "/events?order=newest", None, 400, "invalid"),
    "event before all": ("GET", "/events?before=0", None, 400, "invalid"),
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


def test_a_report_of_a_wrong_shape_is_refused(shared):
    agent = shared.sds["sds1"].identity
    beat = codec.to_json(messages.SdsHeartbeat("s", "b", 0, True))
    for field, value in (("revision", "1"), ("full", 1), ("devices", {}), ("legs", [1])):
        body = json.dumps({**beat, field: value}).encode()
        answer = shared.raw(
            "POST", f"{V1}/agents/sds/{agent.id}/heartbeat", body, token=agent.secret
        )
        assert (answer.status, answer.json()["code"]) == (400, "invalid")


def test_used_things_name_their_users(shared):
    with pytest.raises(errors.InUse, match=r"its devices hold replicas of v1, v2; move them"):
        shared.api.delete(f"{V1}/sds/sds1")
    device = shared.api.get(f"{V1}/sds/sds1")["devices"][0]
    with pytest.raises(errors.InUse, match=r"it holds replicas of v1, v2"):
        shared.api.delete(f"{V1}/devices/{device['id']}", force=True)

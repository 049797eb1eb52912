"""Who may do what over HTTP: administrators, agents with their secrets, the join token, nobody."""

import json

import pytest

from appliance.common import errors
from appliance.rest import client
from tests.fakes import running_mdm

V1 = "/api/v1"


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


def test_a_token_is_shown_without_itself(mdm):
    shown = mdm.api.get(f"{V1}/tokens/admin")
    assert set(shown) == {"id", "name", "role", "created_at"}


def test_an_agent_registers_again_with_its_secret_only(mdm):
    agent = mdm.sds["sds1"]
    before = agent.identity
    agent.register(before.secret)
    assert agent.identity == before
    with pytest.raises(errors.Conflict, match="basalt sds remove sds1"):
        agent.register()
    with pytest.raises(errors.Conflict, match="SDC 'sdc1' is registered"):
        mdm.add_sdc("sdc1")

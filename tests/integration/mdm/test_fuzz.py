"""The OpenAPI document is good enough for a fuzzer, and nothing it sends is ever a 5xx."""

import collections
import json
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from tests.fakes import running_mdm

#: Requests in all, at least; shared evenly by the operations.
REQUESTS = 2000

_CHECKS = (not_a_server_error, response_schema_conformance, status_code_conformance)


@pytest.fixture(scope="module")
def mdm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[running_mdm.RunningMdm]:
    running = running_mdm.RunningMdm(tmp_path_factory.mktemp("fuzzed"))
    running.build()
    running.volume("v1")
    running.volume("v2", shareable=True)
    running.api.post("/api/v1/volumes/v2/mappings", {"sdc": "sdc1", "backend": "none"})
    running.beat(4)
    yield running
    running.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_thousand_requests_without_one_5xx(
    mdm: running_mdm.RunningMdm, caplog: pytest.LogCaptureFixture
) -> None:
    document = mdm.api.get("/api/v1/openapi.json")
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=mdm.url)
    operations = [found.ok() for found in schema.get_all_operations()]
    # Operations without parameters have fewer cases than they may have.
    each = REQUESTS * 6 // 5 // len(operations)
    seen: collections.Counter[int] = collections.Counter()
    with requests.Session() as session:  # one connection: a new one for each costs more than it
        for operation in operations:
            _fuzz(mdm, session, operation, each, seen)
    assert sum(seen.values()) >= REQUESTS
    assert not [status for status in seen if status >= 500]
    assert {200, 201, 204, 400, 404, 409} <= set(seen), seen
    assert not [r for r in caplog.records if r.levelname in ("ERROR", "CRITICAL")]


def _fuzz(
    mdm: running_mdm.RunningMdm,
    session: requests.Session,
    operation: Any,
    count: int,
    seen: collections.Counter[int],
) -> None:
    """``count`` requests to one operation, about half of them as the document wants them."""
    modes = st.one_of(
        operation.as_strategy(),
        operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE),
    )
    known = {"ref": _refs(mdm), "mapping": ["sdc1"], "ident": [mdm.sds["sds1"].identity.id]}
    token = _token(mdm, operation)

    @hypothesis.settings(
        max_examples=count,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(modes, st.data())
    def send(case: Any, data: st.DataObject) -> None:
        for name, values in known.items():
            # Random names find nothing: often take one of something that is there.
            if name in (case.path_parameters or {}) and data.draw(st.booleans()):
                case.path_parameters[name] = data.draw(st.sampled_from(values))
        response = case.call(session=session, headers={"Authorization": f"Bearer {token}"})
        seen[response.status_code] += 1
        case.validate_response(response, checks=_CHECKS)
        if response.status_code >= 400:
            assert set(json.loads(response.content)) >= {"code", "description", "request_id"}

    send()


def _refs(mdm: running_mdm.RunningMdm) -> list[str]:
    nouns = ("domains", "fault-sets", "pools", "sds", "sdcs", "devices", "volumes", "jobs")
    found = [item["id"] for noun in nouns for item in mdm.api.get(f"/api/v1/{noun}")["items"]]
    return [*found, "default", "p", "v1", "v2", "sds1", "sdc1", "fs1"]


def _token(mdm: running_mdm.RunningMdm, operation: Any) -> str:
    if operation.path.startswith("/api/v1/agents/sds/"):
        return mdm.sds["sds1"].identity.secret
    if operation.path.startswith("/api/v1/agents/sdc/"):
        return mdm.sdcs["sdc1"].identity.secret
    return mdm.admin_token

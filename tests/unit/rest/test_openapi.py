import dataclasses
import enum
import json
from dataclasses import dataclass

import falcon
import hypothesis
import pydantic
import pytest
import schemathesis
from falcon import testing

from appliance.common import errors
from appliance.rest import app, body, openapi, server


class Media(enum.StrEnum):
    HDD = "hdd"
    SSD = "ssd"


class NewPool(body.Body):
    name: str = pydantic.Field(max_length=63)
    media: Media = Media.SSD


@dataclass(frozen=True, slots=True)
class Pool:
    id: str
    name: str


class Page(body.Query):
    limit: int = pydantic.Field(default=10, ge=1, le=1000)
    media: Media | None = None
    after: str


class Pools:
    def on_list(self, req, resp):
        body.query(req, Page)
        resp.media = []

    def on_create(self, req, resp):
        body.read(req, NewPool)
        resp.status = 201
        resp.location = "/pools/1"
        resp.media = {"id": "1", "name": "p"}

    def on_show(self, req, resp, ref):
        resp.media = {"id": ref, "name": "p"}

    def on_health(self, req, resp):
        resp.media = {"live": True}


POOLS = Pools()
ROUTES = [
    openapi.Route(
        "GET", "/pools", POOLS.on_list, "listPools", "List pools", "pools",
        query=Page, response=list[Pool],
    ),
    openapi.Route(
        "POST", "/pools", POOLS.on_create, "createPool", "Make a pool", "pools",
        request=NewPool, response=Pool, status=201,
        raises=(errors.AlreadyExists, errors.NoCapacity),
    ),
    openapi.Route(
        "GET", "/pools/{ref}", POOLS.on_show, "getPool", "Show a pool", "pools", response=Pool
    ),
    openapi.Route(
        "GET", "/health", POOLS.on_health, "health", "Health", "health",
        response=dict[str, bool], public=True,
    ),
]  # fmt: skip


@pytest.fixture
def document():
    # as a reader gets it
    return json.loads(json.dumps(openapi.document("Pools", "1.2", ROUTES)))


def resolved(document, schema):
    if "$ref" in schema:
        return document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def test_every_route_of_the_table_answers():
    made = app.create()
    openapi.register(made, ROUTES)
    client = testing.TestClient(made)
    assert client.simulate_get("/pools?after=a").json == []
    assert client.simulate_post("/pools", json={"name": "p"}).status_code == 201
    assert client.simulate_get("/pools/7").json["id"] == "7"
    assert client.simulate_get("/health").json == {"live": True}
    assert client.simulate_delete("/pools").headers["allow"] == "GET, POST, OPTIONS"


def test_one_method_of_a_path_cannot_have_two_responders():
    with pytest.raises(ValueError, match="POST /pools is in the table twice"):
        openapi.register(falcon.App(), [*ROUTES, ROUTES[1]])


def test_the_document_has_every_route_and_no_other(document):
    assert {
        (path, method) for path, methods in document["paths"].items() for method in methods
    } == {("/pools", "get"), ("/pools", "post"), ("/pools/{ref}", "get"), ("/health", "get")}
    assert document["info"]["title"] == "Pools"
    assert document["info"]["version"] == "1.2"


def test_a_request_body_is_described_with_its_limits(document):
    operation = document["paths"]["/pools"]["post"]
    schema = resolved(document, operation["requestBody"]["content"]["application/json"]["schema"])
    assert schema["properties"]["name"]["maxLength"] == 63
    assert schema["required"] == ["name"]
    assert schema["additionalProperties"] is False
    media = resolved(document, schema["properties"]["media"])
    assert media.get("enum") == ["hdd", "ssd"] or "$ref" in str(schema["properties"]["media"])


def test_parameters_of_path_and_query_are_described(document):
    listed = {p["name"]: p for p in document["paths"]["/pools"]["get"]["parameters"]}
    assert set(listed) == {"limit", "media", "after"}
    assert listed["limit"]["schema"]["maximum"] == 1000
    assert (listed["after"]["required"], listed["limit"]["required"]) == (True, False)
    assert "null" not in json.dumps(listed["media"]["schema"])
    assert resolved(document, listed["media"]["schema"])["enum"] == ["hdd", "ssd"]
    (ref,) = document["paths"]["/pools/{ref}"]["get"]["parameters"]
    assert (ref["name"], ref["in"], ref["required"]) == ("ref", "path", True)


def test_errors_are_described_by_status_with_their_codes(document):
    responses = document["paths"]["/pools"]["post"]["responses"]
    assert set(responses) == {"201", "400", "401", "403", "409", "413", "415", "default"}
    assert responses["409"]["description"] == "code: already_exists, no_capacity"
    error = resolved(document, responses["409"]["content"]["application/json"]["schema"])
    assert set(error["properties"]) == {"title", "description", "code", "request_id"}
    assert responses["201"]["headers"]["Location"]["required"]
    assert "404" in document["paths"]["/pools/{ref}"]["get"]["responses"]


def test_only_public_routes_need_no_token(document):
    assert document["security"] == [{"token": []}]
    assert document["paths"]["/health"]["get"]["security"] == []
    assert "401" not in document["paths"]["/health"]["get"]["responses"]
    assert "security" not in document["paths"]["/pools"]["get"]


def test_every_reference_leads_somewhere(document):
    text = json.dumps(document)
    names = set(document["components"]["schemas"])
    used = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert used <= names
    assert {"NewPool", "Pool", "Error", "Media"} <= names


def test_a_fuzzer_finds_the_application_true_to_the_document():
    # here nobody checks tokens
    routes = [dataclasses.replace(route, public=True) for route in ROUTES]
    document = json.loads(json.dumps(openapi.document("Pools", "1.2", routes)))
    made = app.create()
    openapi.register(made, routes)
    serving = server.serve(made, "127.0.0.1", 0, threads=2)
    called = set()
    try:
        schema = schemathesis.openapi.from_dict(document)
        for result in schema.get_all_operations():
            operation = result.ok()

            @hypothesis.settings(max_examples=15, database=None)
            @hypothesis.given(case=operation.as_strategy())
            def fuzz(case):
                answer = case.call(base_url=f"http://127.0.0.1:{serving.port}")
                called.add((case.method, case.path))
                case.validate_response(answer)

            fuzz()
    finally:
        serving.close()
    assert len(called) == len(ROUTES)

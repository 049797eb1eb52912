"""One table of routes, from which both the routes and the OpenAPI document are made.

So that neither can say what the other does not. A role's ``app.py`` writes the table::

    volumes = resources.Volumes(services)
    ROUTES = [
        openapi.Route("GET", "/api/v1/volumes", volumes.on_list, "listVolumes",
                      "List volumes", tag="volumes", query=body.Page, response=VolumeList),
        openapi.Route("POST", "/api/v1/volumes", volumes.on_create, "createVolume",
                      "Create a volume", tag="volumes", request=NewVolume, response=Volume,
                      status=201, raises=(errors.AlreadyExists, errors.NoCapacity)),
        openapi.Route("GET", "/api/v1/volumes/{ref}", volumes.on_show, "getVolume",
                      "Show one volume", tag="volumes", response=Volume),
        openapi.Route("GET", "/health", health.on_get, "health", "Health", tag="health",
                      response=Health, public=True),
    ]
    openapi.register(app, ROUTES)
    document = openapi.document("Basalt MDM", "0.1.0", ROUTES)

A responder is a Falcon one: ``(req, resp, **path_params)``. ``request`` and ``query`` are the
classes given to ``body.read`` and ``body.query``; ``response`` is anything pydantic describes:
a model, a dataclass, ``list[…]``.
"""

import re
import types
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import falcon
import pydantic
import pydantic.json_schema

from appliance.common import errors
from appliance.protocol import status

_REFS = "#/components/schemas/{model}"


@dataclass(frozen=True, slots=True)
class Error:
    """Every error's body. ``code`` is stable; ``description`` says what to do."""

    title: str
    description: str
    code: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path.

    ``raises`` are the errors peculiar to it; what every route of its kind can answer (bad token,
    bad input, no such path) is added. ``public``: answers without a token. ``content_type`` is
    that of the answer.
    """

    method: str
    path: str
    responder: Callable[..., None]
    operation_id: str
    summary: str
    tag: str
    request: type[Any] | None = None
    query: type[pydantic.BaseModel] | None = None
    response: Any = None
    status: int = 200
    raises: tuple[type[errors.BasaltError], ...] = ()
    public: bool = False
    content_type: str = "application/json"


def register(app: falcon.App[Any, Any], routes: Sequence[Route]) -> None:
    """Add ``routes`` to ``app``. Raises ValueError if two have the same method and path."""
    by_path: dict[str, dict[str, Callable[..., None]]] = defaultdict(dict)
    for route in routes:
        name = f"on_{route.method.lower()}"
        if name in by_path[route.path]:
            raise ValueError(f"{route.method} {route.path} is in the table twice")
        by_path[route.path][name] = route.responder
    for path, responders in by_path.items():
        app.add_route(path, types.SimpleNamespace(**responders))


def document(title: str, version: str, routes: Sequence[Route]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of ``routes`` as JSON values."""
    schemas, components = _schemas(routes)
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for route in routes:
        paths[route.path][route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "license": {"name": "Apache-2.0"}},
        "paths": dict(paths),
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


_Key = tuple[Any, pydantic.json_schema.JsonSchemaMode]


def _schemas(routes: Sequence[Route]) -> tuple[dict[_Key, Any], dict[str, Any]]:
    """Schema of every type in use, and the shared definitions they refer to."""
    wanted: dict[_Key, pydantic.TypeAdapter[Any]] = {}
    pairs: list[_Key] = [(Error, "serialization")]
    for route in routes:
        pairs += [(route.request, "validation"), (route.query, "validation")]
        pairs += [(route.response, "serialization")]
    for used, mode in pairs:
        if used is not None and (used, mode) not in wanted:
            wanted[used, mode] = pydantic.TypeAdapter(used)
    found, shared = pydantic.TypeAdapter.json_schemas(
        [(key, key[1], adapter) for key, adapter in wanted.items()], ref_template=_REFS
    )
    return {key: schema for (key, _mode), schema in found.items()}, shared.get("$defs", {})


def _operation(route: Route, schemas: dict[_Key, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.operation_id,
        "summary": route.summary,
        "tags": [route.tag],
        "responses": _responses(route, schemas),
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"{(\w+)", route.path)
    ] + _query_parameters(route)
    if parameters:
        operation["parameters"] = parameters
    if route.request is not None:
        schema = schemas[route.request, "validation"]
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    if route.public:
        operation["security"] = []
    return operation


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    schema = route.query.model_json_schema(ref_template=_REFS)
    needed = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in needed, "schema": _without_null(of)}
        for name, of in schema.get("properties", {}).items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """``schema`` for a query string, where leaving a parameter out is the only null there is."""
    schema = {key: value for key, value in schema.items() if value is not None}
    choices = [choice for choice in schema.get("anyOf", []) if choice.get("type") != "null"]
    if len(choices) == 1:
        del schema["anyOf"]
        schema.update(choices[0])
    return schema


def _responses(route: Route, schemas: dict[_Key, Any]) -> dict[str, Any]:
    good: dict[str, Any] = {"description": route.summary}
    if route.response is not None:
        schema = schemas[route.response, "serialization"]
        good["content"] = {route.content_type: {"schema": schema}}
    if route.status == 201:
        good["headers"] = {"Location": {"schema": {"type": "string"}, "required": True}}
    by_status: dict[int, list[str]] = defaultdict(list)
    for cls in _possible(route):
        by_status[status.meaning(cls).http].append(cls.code)
    error = {"application/json": {"schema": schemas[Error, "serialization"]}}
    responses: dict[str, Any] = {str(route.status): good}
    for http, codes in sorted(by_status.items()):
        responses[str(http)] = {"description": f"code: {', '.join(codes)}", "content": error}
    if route.request is not None:
        responses["415"] = {"description": "the body is not application/json", "content": error}
    responses["default"] = {"description": "any other error", "content": error}
    return responses


def _possible(route: Route) -> list[type[errors.BasaltError]]:
    found = list(route.raises)
    if not route.public:
        found += [errors.Unauthenticated, errors.Forbidden]
    if route.request is not None:
        found += [errors.Invalid, errors.TooLarge]
    if route.query is not None:
        found += [errors.Invalid]
    if "{" in route.path:
        found += [errors.NotFound]
    return list(dict.fromkeys(found))

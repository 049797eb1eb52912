"""Input of requests as checked values: people's JSON, agents' messages, query strings.

Called by resources. What does not fit raises errors.Invalid, which names the field.
"""

import json
import re
import typing
from typing import Any, NoReturn, TypeVar

import falcon
import pydantic

from appliance.common import errors
from appliance.protocol import codec

T = TypeVar("T")
M = TypeVar("M", bound=pydantic.BaseModel)

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,18})")


class Body(pydantic.BaseModel):
    """Base of what people send: exact types, no unknown fields."""

    model_config = pydantic.ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False
    )


class Query(pydantic.BaseModel):
    """Base of query strings: each field is a parameter (str, int or bool), given at most once."""

    model_config = pydantic.ConfigDict(strict=True, extra="forbid", frozen=True)


def read(req: falcon.Request, model: type[M]) -> M:
    """The request's JSON body as ``model``; no body counts as an empty object."""
    raw = _raw(req) or b"{}"
    try:
        return model.model_validate_json(raw)
    except pydantic.ValidationError as exc:
        _refuse(exc, model, "body")


def read_message(req: falcon.Request, cls: type[T]) -> T:
    """The request's JSON body as a dataclass of ``protocol.messages``, sent by another part."""
    try:
        data = json.loads(_raw(req), parse_constant=_no_constant)
    except (ValueError, RecursionError) as exc:
        raise errors.Invalid(what="body", why=f"this is not JSON: {exc}") from exc
    return codec.from_json(cls, data)


def query(req: falcon.Request, model: type[M]) -> M:
    """The request's query string as ``model``."""
    values = {name: _parameter(model, name, value) for name, value in req.params.items()}
    try:
        return model.model_validate_json(json.dumps(values))
    except pydantic.ValidationError as exc:
        _refuse(exc, model, "query")


def _parameter(model: type[pydantic.BaseModel], name: str, value: str | list[str]) -> Any:
    """The JSON value meant by ``value``: pydantic's own reading takes ``1_0`` and ``yes`` too."""
    if isinstance(value, list):
        raise errors.Invalid(what=name, why="give this parameter once")
    field = model.model_fields.get(name)
    kinds = _kinds(field.annotation) if field else []
    if int in kinds and _INTEGER.fullmatch(value):
        return int(value)
    if bool in kinds and value in ("true", "false"):
        return value == "true"
    return value


def _kinds(annotation: Any) -> list[Any]:
    """The plain types in ``annotation``, however they are wrapped: Annotated, or None."""
    parts = typing.get_args(annotation)
    return [kind for part in parts for kind in _kinds(part)] if parts else [annotation]


def _raw(req: falcon.Request) -> bytes:
    if (
        req.content_type
        and req.content_type.partition(";")[0].strip().lower() != "application/json"
    ):
        raise falcon.HTTPUnsupportedMediaType(description="send application/json")
    raw: bytes = req.bounded_stream.read()
    return raw


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _refuse(exc: pydantic.ValidationError, model: type[Any], whole: str) -> NoReturn:
    first, *others = [
        (".".join(str(part) for part in error["loc"]) or whole, _why(error, model))
        for error in exc.errors(include_url=False, include_context=True, include_input=False)
    ]
    also = "".join(f"; {what}: {why}" for what, why in others[:4])
    raise errors.Invalid(what=first[0], why=first[1] + also) from exc


def _why(error: Any, model: type[Any]) -> str:
    if error["type"] == "extra_forbidden" and len(error["loc"]) == 1:
        return f"unknown field; known are {', '.join(model.model_fields) or 'none'}"
    if error["type"] == "extra_forbidden":
        return "unknown field"
    if error["type"] == "missing":
        return "a value is needed"
    if error["type"] == "json_invalid":
        return f"this is not JSON: {error['ctx']['error']}"
    return str(error["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")

"""Dataclasses to JSON values and back, for messages between Basalt's own parts.

Fields a newer release added are passed over, missing ones take their default (so two releases
can talk); a value of the wrong type is refused. People's input is validated in ``rest.body``.
"""

import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar

from appliance.common import errors

T = TypeVar("T")

_LIMIT = 1 << 63


def to_json(value: Any) -> Any:
    """``value`` as dicts, lists, strings and numbers."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f: to_json(getattr(value, f)) for f in _field_names(type(value))}
    if isinstance(value, tuple | list | frozenset):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, enum.Enum):
        return value.value
    return value


def from_json(cls: type[T], data: Any) -> T:
    """An instance of dataclass ``cls``. Raises errors.Invalid naming the field."""
    wanted: Any = cls
    return typing.cast(T, _reader(wanted)(data, cls.__name__))


@functools.cache
def _field_names(cls: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cls))


@functools.cache
def _reader(wanted: Any) -> Callable[[Any, str], Any]:
    """A function (JSON value, where) → value of type ``wanted``."""
    origin = typing.get_origin(wanted)
    args = typing.get_args(wanted)
    if origin in (typing.Union, types.UnionType):
        inner = _reader(next(arg for arg in args if arg is not type(None)))
        return lambda data, where: None if data is None else inner(data, where)
    if origin in (tuple, list):
        item = _reader(args[0])
        return lambda data, where: tuple(
            item(value, f"{where}[{index}]") for index, value in enumerate(_need(list, data, where))
        )
    if origin is dict:
        item = _reader(args[1])
        return lambda data, where: {
            key: item(value, f"{where}.{key}") for key, value in _need(dict, data, where).items()
        }
    if isinstance(wanted, type) and dataclasses.is_dataclass(wanted):
        return _dataclass_reader(wanted)
    if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        return lambda data, where: _enum(wanted, data, where)
    if wanted is float:
        return lambda data, where: float(_need((int, float), data, where))
    return lambda data, where: _need(wanted, data, where)


def _dataclass_reader(cls: type) -> Callable[[Any, str], Any]:
    # Read lazily: a type may name itself.
    hints = typing.get_type_hints(cls)

    def read(data: Any, where: str) -> Any:
        _need(dict, data, where)
        values = {
            name: _reader(hint)(data[name], f"{where}.{name}")
            for name, hint in hints.items()
            if name in data
        }
        try:
            return cls(**values)
        except TypeError as exc:
            raise errors.Invalid(what=where, why=f"a field is missing: {exc}") from exc

    return read


def _need(wanted: Any, data: Any, where: str) -> Any:
    # bool is a subclass of int, but true is no number
    if not isinstance(data, wanted) or (isinstance(data, bool) and wanted is not bool):
        name = getattr(wanted, "__name__", "number")
        raise errors.Invalid(what=where, why=f"{str(data)[:80]!r} is not of type {name}")
    # Nothing counted here comes near it, and no database takes more.
    if isinstance(data, int) and not -_LIMIT <= data < _LIMIT:
        raise errors.Invalid(what=where, why="a number beyond 64 bits")
    return data


def _enum(cls: type[enum.Enum], data: Any, where: str) -> Any:
    try:
        return cls(data)
    except ValueError as exc:
        raise errors.Invalid(what=where, why=str(exc)) from exc

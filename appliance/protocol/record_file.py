"""Dataclasses kept in files, as JSON that people can read. Written with ``common.durable``."""

import json
from pathlib import Path
from typing import Any, TypeVar

from appliance.common import errors
from appliance.protocol import codec

T = TypeVar("T")


def read(path: Path, cls: type[T]) -> T:
    """The ``cls`` in ``path``. FileNotFoundError if there is none, Damaged if it is no ``cls``."""
    try:
        return codec.from_json(cls, json.loads(path.read_bytes()))
    except (ValueError, errors.Invalid) as exc:
        raise errors.Damaged(path=path, why=f"{exc}; it is left as it is") from exc


def to_bytes(record: Any) -> bytes:
    """A dataclass as JSON, ending in a newline."""
    return json.dumps(codec.to_json(record), indent=1, sort_keys=True).encode() + b"\n"

"""Configuration of a role: one frozen dataclass of defaults, overridden by drop-in files.

Drop-ins are TOML files ``<dir>/*.conf`` read in name order, then ``--set key=value``. An unknown
key or a value of the wrong type stops the start and names file and key.
"""

import argparse
import dataclasses
import json
import tomllib
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from appliance.common import errors

T = TypeVar("T")


def options(role: str, description: str) -> argparse.ArgumentParser:
    """The options of every role's process; what they give is ``config_dir``, ``set`` (for
    ``load``) and ``show_config``."""
    parser = argparse.ArgumentParser(prog=f"basalt-{role}", description=description)
    parser.add_argument(
        "--config-dir",
        type=Path,
        default=Path(f"/etc/basalt/{role}.d"),
        metavar="DIR",
        help="folder with configuration files *.conf (default: %(default)s)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override one setting; may be given several times",
    )
    parser.add_argument(
        "--show-config", action="store_true", help="print the settings in force and exit"
    )
    return parser


def load(cls: type[T], directory: Path | None, sets: Sequence[str] = ()) -> T:
    """An instance of dataclass ``cls`` from its defaults, ``directory`` and ``key=value`` pairs.

    Fields may be str, int, float, bool, ``Path`` or a tuple of str. A missing directory is an
    empty one. Raises errors.BadConfig.
    """
    values: dict[str, Any] = {}
    if directory is not None and directory.is_dir():
        for file in sorted(directory.glob("*.conf")):
            for key, value in _read(file).items():
                values[key] = _checked(cls, str(file), key, value)
    for pair in sets:
        key, equals, text = pair.partition("=")
        if not equals:
            raise errors.BadConfig(file="--set", key=pair, why="write it as key=value")
        values[key] = _checked(cls, "--set", key, _parsed(cls, key, text))
    try:
        return cls(**values)
    except TypeError as exc:
        raise errors.BadConfig(file=str(directory), key="?", why=str(exc)) from exc


def show(config: Any) -> str:
    """The configuration in force as TOML, one ``key = value`` a line, sorted."""
    lines = []
    for field in sorted(dataclasses.fields(config), key=lambda f: f.name):
        lines.append(f"{field.name} = {_toml(getattr(config, field.name))}")
    return "\n".join(lines)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise errors.BadConfig(file=str(file), key="(whole file)", why=str(exc)) from exc


def _types(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _parsed(cls: type, key: str, text: str) -> Any:
    wanted = _types(cls).get(key)
    if wanted is str or wanted is Path:
        return text
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text


def _checked(cls: type, file: str, key: str, value: Any) -> Any:
    types = _types(cls)
    if key not in types:
        known = ", ".join(sorted(types))
        raise errors.BadConfig(file=file, key=key, why=f"unknown key; known are {known}")
    wanted = types[key]
    if wanted is Path and isinstance(value, str):
        return Path(value)
    if wanted is float and type(value) is int:
        return float(value)
    if typing.get_origin(wanted) is tuple and isinstance(value, list):
        if all(isinstance(item, str) for item in value):
            return tuple(value)
    elif type(value) is wanted:
        return value
    name = getattr(wanted, "__name__", str(wanted))
    raise errors.BadConfig(file=file, key=key, why=f"{value!r} is not of type {name}")


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    # JSON's strings are TOML's, but for DEL.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")

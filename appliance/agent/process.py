"""The process of an agent: options and configuration, signals, and what it asks of its host."""

import resource
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from appliance.agent import identity
from appliance.common import config, errors
from appliance.rest import process

S = TypeVar("S", bound=process.Settings)


def main(
    role: identity.Role,
    settings_class: type[S],
    run: Callable[[S, threading.Event], None],
    argv: Sequence[str] | None,
) -> int:
    """Read options and configuration, then ``run`` until a signal. Exit status: protocol.status."""
    given = config.options(role, f"The {role.upper()} agent of Basalt.").parse_args(argv)
    return process.main(role, settings_class, run, given)


def boot_id(file: Path) -> str:
    """What changes at each boot of this host. Raises errors.BadConfig."""
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError as exc:
        raise errors.BadConfig(
            file="configuration", key="boot_id_file", why=f"{file} cannot be read: {exc.strerror}"
        ) from exc


def raise_descriptor_limit() -> None:
    """A leg or a mapping takes a few descriptors; the soft limit of 1024 is for select(2)."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

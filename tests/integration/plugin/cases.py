"""What the tests of the plugin share: patterns, servers that log, what an end looks like."""

from collections.abc import Callable
from typing import Any

import nbd
import pytest

from tests.fakes import legs, rig

K = 4096
MIB = 1 << 20
REGION = 16 * MIB
ONES, TWOS, THREES = (bytes([value]) * K for value in (1, 2, 3))


def logged_turn(volume: rig.Rig, *args: Any, **kwargs: Any) -> None:
    """A turn to servers that log."""
    serve = {name: server.logging() for name, server in volume.servers.items()}
    volume.turn(*args, serve=serve, **kwargs)


def data_of(entries: list[legs.Entry]) -> list[legs.Entry]:
    return [entry for entry in entries if not entry.intent]


def expect_over(call: Callable[..., object], *args: object) -> None:
    with pytest.raises(nbd.Error) as caught:
        call(*args)
    assert caught.value.errno == "ESHUTDOWN"

"""Two real data servers, and epochs on them."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.domain import model
from nbd_plugin import epoch
from tests.fakes import legs

SIZE = 64 << 20


class Epochs:
    """Makes epochs on servers x and y; ``blamed`` collects what they ask a turn for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.resize(SIZE)
        self.blamed: list[tuple[str, str]] = []
        self._generation = 0
        self._made: list[epoch.Epoch] = []

    def __call__(
        self, states: dict[str, model.ReplicaState] | None = None, **served: object
    ) -> epoch.Epoch:
        return self.each(dict.fromkeys(self.servers, served), states)

    def each(
        self,
        served: dict[str, dict[str, object]],
        states: dict[str, model.ReplicaState] | None = None,
    ) -> epoch.Epoch:
        """An epoch on servers that differ: arguments of ``serve`` by name."""
        self._generation += 1
        served_legs = [server.serve(**served[name]) for name, server in self.servers.items()]
        volume_map = legs.make_map(served_legs, self.size, self._generation, ncols=1, states=states)
        made = epoch.Epoch(volume_map, lambda device, kind: self.blamed.append((device, kind)))
        self._made.append(made)
        made.open()
        return made

    def resize(self, size: int) -> None:
        """Before the first epoch."""
        self.size = size
        self.servers = {name: legs.LegServer(self._folder / name, size) for name in ("x", "y")}

    def dirty(self) -> list[set[int]]:
        return [server.dirty() for server in self.servers.values()]

    def close(self) -> None:
        for made in self._made:
            made.end("the test is over")
        for server in self.servers.values():
            server.kill()


@pytest.fixture
def epochs(tmp_path: Path) -> Iterator[Callable[..., epoch.Epoch]]:
    made = Epochs(tmp_path)
    life = threading.Timer(60.0, made.close)  # no signal ends a wait inside libnbd
    life.daemon = True
    life.start()
    yield made
    life.cancel()
    made.close()


@pytest.fixture
def silent() -> Iterator[tuple[str, int]]:
    """(address, port) at which nobody answers, not even to refuse: a queue that is full."""
    with contextlib.ExitStack() as held:
        listener = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address, port = listener.getsockname()[:2]
        for _ in range(2):
            knock = held.enter_context(socket.socket())
            knock.setblocking(False)
            knock.connect_ex((address, port))
        yield address, port


@pytest.fixture
def nobody_listens() -> int:
    """A port at which connections are refused."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])

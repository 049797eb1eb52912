"""What a scrubber may ask of a client, through the real plugin in a real nbdkit."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.domain import intents, model
from tests.fakes import legs

MIB = 1 << 20
SIZE = 64 * MIB


class Client:
    """The plugin over two legs of one column, in generation 1; ``ask`` is a step of a scrub."""

    def __init__(self, folder: Path) -> None:
        self.servers = {name: legs.LegServer(folder / name, SIZE) for name in ("x", "y")}
        self.plugin = legs.PluginProcess(folder / "plugin")
        self.turn(1)
        self.handle = self.plugin.connect()
        self._asked = 0

    def turn(self, generation: int, states: dict[str, model.ReplicaState] | None = None) -> None:
        served = [server.serve() for server in self.servers.values()]
        made = legs.make_map(served, SIZE, generation, ncols=1, states=states)
        self.plugin.send_map(made)
        self.plugin.status(generation=generation)

    def ask(self, step: str, offset: int = 0, length: int = MIB, **more: Any) -> str:
        """Why it was not done, empty if it was."""
        return self.answer(self.begin(step, offset, length, **more))

    def begin(self, step: str, offset: int = 0, length: int = MIB, **more: Any) -> str:
        self._asked += 1
        words = {"generation": 1, "device_id": "", **more}
        ident = f"s{self._asked}"
        self.plugin.send(op="scrub", id=ident, step=step, offset=offset, length=length, **words)
        return ident

    def answer(self, ident: str) -> str:
        answer = self.plugin.wait_for(op="scrubbed", id=ident)
        assert answer["ok"] == (answer["why"] == "")
        return str(answer["why"])

    def touched(self) -> list[set[int]]:
        files = [(server.folder / "intent").read_bytes() for server in self.servers.values()]
        return [set(intents.touched_regions(file)) for file in files]

    def close(self) -> None:
        self.plugin.close()
        for server in self.servers.values():
            server.kill()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    made = Client(tmp_path)
    yield made
    made.close()


def test_a_unit_is_written_again_from_the_copy_named_and_flushed(client: Client) -> None:
    content = os.urandom(2 * MIB)
    client.handle.pwrite(content, MIB)
    client.handle.flush()
    client.servers["y"].overwrite(MIB + 5, b"rot")
    assert client.ask("rewrite", MIB, MIB, device_id="x") == ""
    for server in client.servers.values():
        assert server.read(MIB, 2 * MIB) == content
        assert server.dirty() == {0}
    assert client.plugin.status()["unflushed"] is False


def test_a_repair_under_another_generation_or_from_a_stranger_changes_nothing(
    client: Client,
) -> None:
    client.servers["y"].overwrite(5, b"rot")
    assert "a turn began" in client.ask("rewrite", device_id="x", generation=2)
    assert "is not in the map" in client.ask("rewrite", device_id="z")
    assert client.servers["y"].read(5, 3) == b"rot"


def test_a_repair_that_a_turn_overtakes_changes_nothing(client: Client) -> None:
    client.servers["y"].overwrite(5, b"rot")
    client.servers["x"].kill()
    asked = client.begin("rewrite", device_id="x")
    client.plugin.status(suspects=["x"])
    client.turn(2)
    assert "a turn began" in client.answer(asked)
    assert client.servers["y"].read(5, 3) == b"rot"


def test_another_generation_is_refused(client: Client) -> None:
    client.turn(2)
    for step in ("watch", "scrubbed"):
        assert "this client is not in it" in client.ask(step)
        assert client.ask(step, generation=2) == ""


def test_an_unknown_step_is_refused(client: Client) -> None:
    assert "not known" in client.ask("polish")


def test_a_mark_that_cannot_be_taken_away_everywhere_asks_for_a_turn(client: Client) -> None:
    client.handle.pwrite(b"x", 0)
    client.handle.flush()
    legs.until(lambda: not client.servers["x"].dirty(), 20.0)  # the plugin does that by itself
    assert client.ask("watch", 0, SIZE) == ""
    client.servers["y"].kill()
    assert "is over" in client.ask("scrubbed", 0, 16 * MIB)
    client.plugin.status(suspects=["y"])

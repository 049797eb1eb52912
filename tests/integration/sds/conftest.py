"""One fake MDM and real SDS agents per test; their logs are searched afterwards."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.protocol import messages
from tests.fakes import copy_pair, fake_lock_client, fake_mdm, sds_agent


@pytest.fixture
def mdm() -> Iterator[fake_mdm.FakeMdm]:
    fake = fake_mdm.FakeMdm()
    yield fake
    fake.close()


@pytest.fixture
def make_sds(
    tmp_path: Path, mdm: fake_mdm.FakeMdm, request: pytest.FixtureRequest
) -> Iterator[Callable[..., sds_agent.SdsAgent]]:
    """Makes agents: ``make_sds("name", "key=value", …)``; not started yet."""
    made: list[sds_agent.SdsAgent] = []

    def _make(name: str = "sds1", *sets: str) -> sds_agent.SdsAgent:
        agent = sds_agent.SdsAgent(tmp_path / name, mdm, name, *sets)
        made.append(agent)
        return agent

    yield _make
    for agent in made:
        agent.stop()
    announced = [p for m in request.node.iter_markers("announces") for p in m.args]
    for agent in made:
        for line in agent.text().splitlines():
            wrong = " ERROR " in line or "Traceback" in line
            assert not wrong or any(re.search(p, line) for p in announced), line


@pytest.fixture
def device_dir(tmp_path: Path) -> Path:
    path = tmp_path / "device"
    path.mkdir()
    return path


@pytest.fixture
def sds(
    make_sds: Callable[..., sds_agent.SdsAgent], mdm: fake_mdm.FakeMdm, device_dir: Path
) -> sds_agent.SdsAgent:
    """A running agent with one device."""
    mdm.add_device(sds_agent.DEVICE, device_dir)
    agent = make_sds().start()
    mdm.wait_device(sds_agent.DEVICE, "ok")
    return agent


@pytest.fixture
def agent(make_sds: Callable[..., sds_agent.SdsAgent]) -> sds_agent.SdsAgent:
    return make_sds("sds1").start()


@pytest.fixture
def pair(mdm: fake_mdm.FakeMdm, agent: sds_agent.SdsAgent, tmp_path: Path) -> copy_pair.Pair:
    return copy_pair.Pair(mdm, tmp_path)


@pytest.fixture
def make_client() -> Iterator[Callable[..., fake_lock_client.FakeLockClient]]:
    made: list[fake_lock_client.FakeLockClient] = []

    def _make(**options: Any) -> fake_lock_client.FakeLockClient:
        made.append(fake_lock_client.FakeLockClient(**options))
        return made[-1]

    yield _make
    for client in made:
        client.close()


@pytest.fixture
def folder(device_dir: Path) -> Path:
    return device_dir / "volumes" / sds_agent.VOLUME


@pytest.fixture
def served(mdm: fake_mdm.FakeMdm, sds: sds_agent.SdsAgent) -> messages.LegReport:
    """The volume, sealed and served in its first generation."""
    mdm.order(sds_agent.order(1))
    sds.poke()
    return mdm.wait_leg(sds_agent.VOLUME, sds_agent.DEVICE, lambda leg: leg.serving and leg.flushed)

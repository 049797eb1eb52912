"""An agent that the MDM does not know any more registers again, a few times, and says so."""

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.agent import identity, registration, talk
from appliance.protocol import messages
from tests.fakes import fake_mdm


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    mdm: tuple[str, ...]
    join_token_file: Path
    name: str = "agent"
    mdm_ca_file: str = ""
    hosts: tuple[str, ...] = ("127.0.0.1",)
    control_port: int = 7072


class Agent(talk.Talk):
    """An SDS without devices."""

    role: identity.Role = "sds"

    def _words(self) -> messages.Registration:
        return registration.words(self._reach, self.control_port)

    def _turn(self) -> None:
        beat = messages.SdsHeartbeat(self._session, "boot", revision=0, full=False)
        self._exchange(beat, messages.SdsOrders)


@pytest.fixture
def mdm() -> Iterator[fake_mdm.FakeMdm]:
    made = fake_mdm.FakeMdm()
    yield made
    made.close()


@pytest.fixture
def agent(mdm: fake_mdm.FakeMdm, tmp_path: Path) -> Iterator[Agent]:
    token = tmp_path / "join"
    token.write_text(fake_mdm.JOIN_TOKEN)
    store = identity.Store(tmp_path / "data", "sds")
    made = Agent(Settings((mdm.url,), token), store, "boot")
    made.run_once()
    assert made.trouble == ""
    yield made
    made.close()
    store.close()


def test_a_lost_secret_is_healed_by_registering_again(mdm, agent):
    before = agent._store.identity
    mdm.forget(give_back=before.id)
    agent.run_once()
    assert "secret" in agent.trouble
    agent.run_once()
    assert agent.trouble == ""
    assert agent._store.identity == before
    assert len(mdm.registrations) == 2


def test_a_lost_answer_to_the_first_word_makes_nobody_a_stranger(mdm, tmp_path):
    """The MDM knows the agent, which does not know it yet, and may even start anew meanwhile."""
    token = tmp_path / "join"
    token.write_text(fake_mdm.JOIN_TOKEN)
    for mdm.loses_answers in (True, True, False):
        store = identity.Store(tmp_path / "data", "sds")
        agent = Agent(Settings((mdm.url,), token), store, "boot")
        agent.run_once()
        assert (agent.trouble == "") != mdm.loses_answers
        agent.close()
        store.close()
    assert len(mdm.registrations) == 3
    assert set(mdm._secrets.values()) == {store.identity.id}


def test_healing_stops_at_its_limit_and_says_what_to_do(mdm, agent, caplog):
    caplog.set_level(logging.WARNING)
    mdm.refuses_secrets = True
    for _ in range(4 * talk.HEAL_LIMIT):
        agent.run_once()
    assert len(mdm.registrations) == 1 + talk.HEAL_LIMIT
    assert caplog.text.count("start this agent anew") == 1
    mdm.refuses_secrets = False
    agent.run_once()
    assert (agent.trouble, agent.heal_attempts) == ("", 0)


def test_an_mdm_that_is_down_is_no_reason_to_register_again(mdm, agent):
    mdm.down = True
    for _ in range(3):
        agent.run_once()
    assert agent.trouble == "the fake is down"
    assert len(mdm.registrations) == 1

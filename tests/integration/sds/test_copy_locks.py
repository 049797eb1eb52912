"""A copy's locks (R8), and how it ends: redone, waiting, killed by a turn, started again."""

import os
import signal

from appliance.domain import intents
from appliance.protocol import messages
from tests.fakes import sds_agent
from tests.fakes.copy_pair import REGION, SOURCE, TARGET, Pair
from tests.fakes.sds_agent import CLIENT, MIB, SYNCING, VOLUME, SdsAgent, order


def test_each_step_is_locked_at_every_client(pair: Pair, make_client) -> None:
    clients = [make_client(), make_client()]
    pair.turn()
    pair.write(SOURCE, 2 * REGION, b"S" * 6 * MIB)
    pair.mark(SOURCE, 2)
    pair.copy(clients=tuple(client.to_order(CLIENT) for client in clients))
    pair.wait_copy()
    assert pair.data(SOURCE) == pair.data(TARGET)
    for client in clients:
        asked = sorted((words.offset, words.length) for words in client.asked)
        assert asked == [(2 * REGION + unit * MIB, MIB) for unit in range(6)]
        assert {words.generation for words in client.asked} == {1}
        assert {words.incarnation for words in client.asked} == {CLIENT}
        assert client.held == {}
        assert client.most_held <= 4


def test_step_whose_lock_ran_out_is_done_again(pair: Pair, make_client) -> None:
    client = make_client(limit_s=0.1, late=3)
    pair.turn()
    pair.write(SOURCE, 0, b"S" * 2 * MIB)
    pair.mark(SOURCE, 0)
    pair.copy(clients=(client.to_order(CLIENT),))
    pair.wait_copy()
    assert pair.data(SOURCE) == pair.data(TARGET)
    assert len(client.asked) >= 2 + 3  # and again where this machine was late


def test_what_is_written_after_a_lock_ran_out_is_not_lost(pair: Pair, make_client) -> None:
    """The step that took too long wrote old bytes over new ones; doing it again mends it."""
    client = make_client(limit_s=0.1, late=1)
    pair.turn()
    pair.write(SOURCE, 0, b"1" * MIB)
    pair.mark(SOURCE, 0)
    pair.copy(clients=(client.to_order(CLIENT),))
    with client.changed:
        assert client.changed.wait_for(lambda: client.asked, 20)
    # The client's own writes go to both, once its lock has run out.
    pair.write(SOURCE, 0, b"2" * 512)
    pair.write(TARGET, 0, b"2" * 512)
    pair.wait_copy()
    assert pair.data(SOURCE) == pair.data(TARGET)
    assert pair.data(TARGET)[:513] == b"2" * 512 + b"1"


def test_copy_waits_for_a_client_that_does_not_answer(pair: Pair, make_client) -> None:
    client = make_client()
    client.refuse = "the plugin is starting"
    pair.turn()
    pair.write(SOURCE, 0, b"S" * MIB)
    pair.mark(SOURCE, 0)
    pair.copy(clients=(client.to_order(CLIENT),))
    waiting = pair.wait_copy(lambda copy: copy.waiting != "")
    assert "the plugin is starting" in waiting.waiting
    assert waiting.waiting_for == CLIENT
    assert not waiting.done
    assert pair.data(TARGET)[:MIB] == bytes(MIB)
    client.refuse = ""
    done = pair.wait_copy()
    assert (done.waiting, done.waiting_for) == ("", "")
    assert pair.data(SOURCE) == pair.data(TARGET)


def test_copy_waits_for_a_source_that_does_not_answer(pair: Pair, make_client) -> None:
    client = make_client()
    client.refuse = "wait"
    pair.turn()
    pair.write(SOURCE, 0, b"S" * MIB)
    pair.copy(full=True, clients=(client.to_order(CLIENT),))
    pair.wait_copy(lambda copy: copy.waiting != "")
    for pid in sds_agent.holders(pair.paths[SOURCE] / "lock"):
        os.kill(pid, signal.SIGKILL)
    client.refuse = ""
    pair.wait_copy(lambda copy: "SDS other did not answer" in copy.waiting)
    pair.turn()
    pair.copy(full=True)
    pair.wait_copy()
    assert pair.data(SOURCE) == pair.data(TARGET)


def test_turn_ends_a_stopped_copier_before_it_is_reported(pair: Pair, make_client) -> None:
    client = make_client()
    client.refuse = "wait"
    pair.turn()
    pair.write(SOURCE, 0, b"S" * MIB)
    pair.mark(SOURCE, 0)
    pair.copy(clients=(client.to_order(CLIENT),))
    pair.wait_copy(lambda copy: copy.waiting != "")
    lock = pair.paths[TARGET] / "lock"
    before = sds_agent.holders(lock)
    assert len(before) == 2
    for pid in before:
        os.kill(pid, signal.SIGSTOP)
    client.refuse = ""
    pair.turn()
    assert not set(before) & set(sds_agent.holders(lock))
    assert pair.data(TARGET)[:MIB] == bytes(MIB)
    assert pair.mdm.reports[(VOLUME, TARGET)].copy is None


def test_copier_left_by_a_killed_agent_is_ended(pair: Pair, agent: SdsAgent, make_client) -> None:
    client = make_client()
    client.refuse = "wait"
    pair.turn()
    pair.mark(SOURCE, 0)
    pair.write(SOURCE, 0, b"S" * MIB)
    pair.copy(clients=(client.to_order(CLIENT),))
    pair.wait_copy(lambda copy: copy.waiting != "")
    lock = pair.paths[TARGET] / "lock"
    before = sds_agent.holders(lock)
    for pid in before:
        os.kill(pid, signal.SIGSTOP)
    agent.kill()
    agent.start()
    pair.turn()
    assert not set(before) & set(sds_agent.holders(lock))


def test_marks_of_a_source_that_is_gone_are_still_copied(pair: Pair, make_client) -> None:
    client = make_client()
    client.refuse = "wait"
    pair.turn()
    pair.write(SOURCE, REGION, b"S" * MIB)
    pair.mark(SOURCE, 1)
    pair.copy(clients=(client.to_order(CLIENT),))
    pair.wait_copy(lambda copy: copy.waiting != "")
    joined = (pair.paths[TARGET] / "intent.join").read_bytes()
    assert list(intents.dirty_regions(joined)) == [1]
    pair.turn(incarnations=())  # the marks go, on both
    assert (pair.paths[TARGET] / "intent.join").exists()
    pair.copy()
    pair.wait_copy()
    assert pair.data(SOURCE) == pair.data(TARGET)
    assert not (pair.paths[TARGET] / "intent.join").exists()


def test_copy_ends_when_it_is_not_ordered_any_more(pair: Pair, make_client) -> None:
    client = make_client()
    client.refuse = "wait"
    pair.turn()
    pair.write(SOURCE, 0, b"S" * 512)
    pair.copy(full=True, clients=(client.to_order(CLIENT),))
    pair.wait_copy(lambda copy: copy.waiting != "")
    columns = (messages.OwnColumn(0, SYNCING),)
    plain = {**pair.plain, "columns": columns}
    pair.mdm.order(order(pair.generation, device_id=TARGET, **plain))
    pair.mdm.wait_leg(VOLUME, TARGET, lambda leg: leg.copy is None and leg.serving)
    assert len(sds_agent.holders(pair.paths[TARGET] / "lock")) == 1


def test_copier_that_dies_is_started_again(pair: Pair, make_client) -> None:
    client = make_client()
    client.refuse = "wait"
    pair.turn()
    pair.write(SOURCE, 0, b"S" * MIB)
    lock = pair.paths[TARGET] / "lock"
    servers = sds_agent.holders(lock)
    pair.copy(full=True, clients=(client.to_order(CLIENT),))
    pair.wait_copy(lambda copy: copy.waiting != "")
    (copier,) = set(sds_agent.holders(lock)) - set(servers)
    os.kill(copier, signal.SIGKILL)
    client.refuse = ""
    pair.wait_copy()
    assert pair.data(SOURCE) == pair.data(TARGET)
    assert pair.mdm.reports[(VOLUME, TARGET)].error == ""

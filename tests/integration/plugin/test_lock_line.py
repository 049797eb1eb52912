"""Lock lines: the agent hands a connection on, and the plugin answers a copier on it (R8)."""

import json
import socket

import pytest

from tests.fakes import legs, rig
from tests.integration.plugin.cases import MIB, ONES, THREES, TWOS, K


class Line:
    """What a copier has: one end of a connection whose other end the plugin got."""

    def __init__(self, volume: rig.Rig, generation: int | None = None, limit_s: float = 30.0):
        self._end, self.handed = socket.socketpair()
        self._end.settimeout(20)
        self._answers = self._end.makefile("rb")
        self.words = json.dumps(
            {
                "op": "lock_line",
                "generation": generation or volume.generation,
                "limit_s": limit_s,
            }
        ).encode()

    def ask(self, offset: int = 0, length: int = MIB, limit_s: float = 60.0) -> dict[str, object]:
        self.send({"offset": offset, "length": length, "limit_s": limit_s})
        answer: dict[str, object] = json.loads(self._answers.readline())
        return answer

    def send(self, words: object) -> None:
        self._end.sendall(json.dumps(words).encode() + b"\n")

    def give_back(self) -> None:
        self.send({"offset": 0, "length": 0, "limit_s": 0})

    def ended(self) -> bool:
        return self._answers.readline() == b""

    def close(self) -> None:
        self._answers.close()
        self._end.close()


def hand_on(volume: rig.Rig, *lines: Line) -> None:
    """All in one message, as they may come when the plugin is late."""
    data = b"".join(line.words + b"\n" for line in lines)
    socket.send_fds(volume.plugin.link, [data], [line.handed.fileno() for line in lines])
    for line in lines:
        line.handed.close()


def line(volume: rig.Rig, **more: float) -> Line:
    made = Line(volume, **more)
    hand_on(volume, made)
    return made


def test_a_step_drains_its_unit_and_holds_it_and_no_other(make_rig):
    """R8."""
    volume = make_rig()
    handle, inside, outside = volume.connect(), volume.connect(), volume.connect()
    handle.pwrite(ONES, 0)
    copier, other = line(volume), line(volume)
    volume["x"].stop()
    in_flight = legs.Doing(handle.pwrite, TWOS, 0)
    legs.until(lambda: volume["y"].read(0, K) == TWOS)
    asked = legs.Doing(copier.ask)
    assert other.ask(offset=MIB) == {"limit_s": 30.0, "why": ""}  # nothing is in flight there
    other.give_back()
    assert not asked.done
    volume["x"].go_on()
    assert asked.result()["why"] == ""
    in_flight.result()  # drained, so it is over
    held = legs.Doing(inside.pwrite, THREES, K)
    outside.pwrite(THREES, 2 * MIB)
    assert handle.pread(K, 0) == TWOS  # reads are not held
    volume.plugin.status()
    assert not held.done
    assert volume["x"].read(K, K) == volume["y"].read(K, K) == bytes(K)
    copier.give_back()
    held.result()


def test_the_next_step_gives_the_one_before_back(make_rig):
    volume = make_rig()
    copier, handle = line(volume), volume.connect()
    copier.ask(offset=0)
    assert copier.ask(offset=0, limit_s=1.0)["why"] == ""  # its own range is not in its way
    copier.ask(offset=MIB)
    handle.pwrite(ONES, 0)
    held = legs.Doing(volume.connect().pwrite, TWOS, MIB)
    volume.plugin.status()
    assert not held.done
    copier.give_back()
    held.result()


def test_a_lock_outlives_its_line_up_to_its_limit(make_rig):
    """The copier's last write may still be on its way when its connection is gone."""
    volume = make_rig()
    copier = line(volume)
    copier.ask(limit_s=2.0)
    copier.close()
    held = legs.Doing(volume.connect().pwrite, ONES, 0)
    volume.plugin.status()
    assert not held.done
    held.result()


def test_no_lock_is_longer_than_the_agent_allows(make_rig):
    volume = make_rig()
    copier = line(volume, limit_s=0.5)
    assert copier.ask(limit_s=60.0) == {"limit_s": 0.5, "why": ""}
    volume.connect().pwrite(ONES, 0)


def test_a_lock_is_refused_while_writes_do_not_end_or_in_another_generation(make_rig):
    volume = make_rig()
    handle = volume.connect()
    handle.pwrite(ONES, 0)
    assert "generation 7 is over" in str(line(volume, generation=7).ask()["why"])
    copier = line(volume)
    volume["x"].stop()
    write = legs.Doing(handle.pwrite, TWOS, 0)
    legs.until(lambda: volume["y"].read(0, K) == TWOS)
    assert "did not end in time" in str(copier.ask(limit_s=0.1)["why"])
    volume["x"].go_on()
    write.result()
    handle.pwrite(THREES, 0)  # neither left anything behind
    assert copier.ask()["why"] == ""


@pytest.mark.parametrize(
    "words",
    [
        {"offset": -1, "length": 1, "limit_s": 1},
        {"offset": 0, "length": -1, "limit_s": 1},
        {"offset": 0, "length": 1, "limit_s": -1},
        {"offset": 0, "length": 1},
        {"offset": "0", "length": 1, "limit_s": 1},
        [1],
        "x" * 5000,
    ],
)
def test_nonsense_ends_the_line_and_nothing_else(make_rig, words):
    volume = make_rig()
    copier, other = line(volume), line(volume)
    copier.send(words)
    assert copier.ended()
    assert other.ask()["why"] == ""


def test_each_line_gets_what_was_said_of_it(make_rig):
    volume = make_rig()
    made = [Line(volume, limit_s=1.0 + index) for index in range(3)]
    hand_on(volume, *made)
    for index, each in enumerate(made):
        assert each.ask(offset=index * MIB)["limit_s"] == 1.0 + index


def test_a_connection_that_no_word_belongs_to_is_closed_with_the_link(make_rig):
    volume = make_rig()
    lost = Line(volume)
    socket.send_fds(volume.plugin.link, [b'{"op":"dance"}\n'], [lost.handed.fileno()])
    lost.handed.close()
    volume.plugin.attach()  # in place of the link that was
    assert lost.ended()
    volume.connect().pwrite(ONES, 0)

"""Children that outlive their command: started, recognised, ended; nobody else is ever hit."""

import dataclasses
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.cli.local import processes, state

_ROOT = str(Path(__file__).parents[4])

Start = Callable[..., state.Process]


def _wait(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a sleeper, wait until it runs its code; every one is ended after the test."""
    monkeypatch.setenv("PYTHONPATH", _ROOT)
    children: list[subprocess.Popen[bytes]] = []

    def run(name: str = "one", **sets: str) -> state.Process:
        log = tmp_path / "log" / f"{name}.log"
        popen, process = processes.start(
            "tests.fakes.sleeper", tmp_path / "conf", sets, log, {state.MARK: str(tmp_path)}
        )
        children.append(popen)
        _wait(lambda: log.exists() and log.read_text().endswith("\n"))  # it may come in pieces
        return process

    yield run
    for popen in children:
        popen.kill()
        popen.wait()


def test_a_child_gets_its_configuration_and_its_log(start: Start, tmp_path: Path) -> None:
    start(poll_s="0.5", mdm='["http://x"]')
    said = processes.tail(tmp_path / "log" / "one.log")
    assert f"--config-dir {tmp_path / 'conf'}" in said
    assert '--set poll_s=0.5 --set mdm=["http://x"]' in said


def test_a_child_has_a_session_of_its_own(start: Start) -> None:
    assert os.getsid(start().pid) != os.getsid(0)


def test_stop_ends_it_by_sigterm(start: Start) -> None:
    process = start()
    assert processes.alive(process)
    assert processes.stop(process) == "stopped"
    assert not processes.alive(process)  # a zombie, as nobody waited for it yet
    assert processes.stop(process) == "gone"


def test_stop_kills_one_that_does_not_listen(start: Start) -> None:
    process = start(stubborn="1")
    assert processes.stop(process, term_s=0.1) == "killed"


def test_kill(start: Start) -> None:
    process = start(stubborn="1")
    processes.kill(process)
    assert not processes.alive(process)


@pytest.mark.parametrize("wrong", [{"started": 1}, {"boot_id": "another boot"}])
def test_another_process_with_the_same_pid_is_left_alone(
    start: Start, wrong: dict[str, object]
) -> None:
    process = start()
    other = dataclasses.replace(process, **wrong)
    assert not processes.alive(other)
    assert processes.stop(other) == "gone"
    processes.kill(other)
    assert processes.alive(process)


def test_marked_finds_the_cluster_s_processes_and_no_others(start: Start, tmp_path: Path) -> None:
    both = {start("one"), start("two")}
    assert set(processes.marked(str(tmp_path))) == both
    assert processes.marked("no such mark") == []


def test_tail_is_the_end_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert processes.tail(log) == "(no log)"
    log.touch()
    assert processes.tail(log) == "(the log is empty)"
    log.write_text("".join(f"line {number}\n" for number in range(30)), encoding="utf-8")
    assert processes.tail(log).splitlines() == [f"line {number}" for number in range(10, 30)]

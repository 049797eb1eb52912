"""Children: started by one thread, given exactly their descriptors, their end seen at once."""

import os
import threading
from pathlib import Path

import pytest

from appliance.sds import processes


@pytest.fixture
def starter():
    made = processes.Starter()
    yield made
    made.close()


def _start(starter, argv, fds=None, env=None):
    ended = threading.Event()
    return starter.start(argv, fds or {}, env or {}, ended.set), ended


def test_end_is_told_with_its_status(starter) -> None:
    process, ended = _start(starter, ["/bin/sh", "-c", "exit 3"])
    assert ended.wait(10)
    assert (process.alive, process.status) == (False, 3)
    process.kill()


def test_kill_ends_a_stopped_process(starter) -> None:
    process, ended = _start(starter, ["/bin/sh", "-c", "kill -STOP $$"])
    process.kill()
    assert process.wait(10)
    assert ended.wait(10)
    assert process.status == -9
    assert not Path(f"/proc/{process.pid}").exists()


def test_given_descriptors_are_there_and_no_others_of_ours(starter, tmp_path: Path) -> None:
    out, their_out = os.pipe()
    ours = os.open(tmp_path, os.O_RDONLY)
    low = os.open("/etc/hostname", os.O_RDONLY)  # may well be the number of a target
    argv = ["/bin/sh", "-c", "echo $A; ls -l /proc/$$/fd | sed 's/.* \\([0-9]* ->\\)/\\1/'"]
    _process, ended = _start(
        starter, argv, {1: their_out, 3: low, 4: low}, {"A": "b", "PATH": os.environ["PATH"]}
    )
    os.close(their_out)
    os.close(low)
    os.close(ours)
    with os.fdopen(out) as lines:
        text = lines.read().splitlines()
    assert ended.wait(10)
    assert text[0] == "b"
    numbers = {line.split()[0]: line.split()[-1] for line in text if "->" in line}
    assert set(numbers) >= {"0", "1", "2", "3", "4"}
    assert str(tmp_path) not in numbers.values()
    assert numbers["0"] == "/dev/null"
    assert numbers["3"] == numbers["4"] == "/etc/hostname"


def test_program_that_is_not_there_raises(starter) -> None:
    with pytest.raises(FileNotFoundError):
        _start(starter, ["/no/such/program"])
    process, ended = _start(starter, ["/bin/true"])
    assert ended.wait(10)
    assert process.status == 0


def test_failing_callback_does_not_end_the_watcher(starter, caplog) -> None:
    def _fails() -> None:
        raise RuntimeError("on purpose")

    first = starter.start(["/bin/true"], {}, {}, _fails)
    assert first.wait(10)
    _process, ended = _start(starter, ["/bin/true"])
    assert ended.wait(10)
    assert "exit_callback_failed" in caplog.text


def test_many_at_once_are_all_reaped(starter) -> None:
    made = [_start(starter, ["/bin/true"]) for _ in range(50)]
    assert all(ended.wait(20) for _, ended in made)

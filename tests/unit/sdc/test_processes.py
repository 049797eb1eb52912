import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.common import errors
from appliance.sdc import processes
from tests.fakes import sdc_host

#: include/linux/sched.h: PF_MEMALLOC_NOIO and PF_LOCAL_THROTTLE, set by PR_SET_IO_FLUSHER.
_IO_FLUSHER = 0x00080000 | 0x00100000

_CAP_SYS_RESOURCE = 24

_STUBBORN = """
import ctypes, signal, time
ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG, as nbdkit does
signal.signal(signal.SIGTERM, lambda *_: None)
print("up", flush=True)
while True: time.sleep(60)
"""


@pytest.fixture
def sleeper() -> Iterator[processes.Process]:
    process = processes.Process.start(["sleep", "600"])
    yield process
    process.kill()
    process.close()


def test_a_process_has_a_session_of_its_own_and_the_agent_is_not_its_parent(
    sleeper: processes.Process,
) -> None:
    pid = sleeper.ident.pid
    assert os.getsid(pid) != os.getsid(0)
    status = Path(f"/proc/{pid}/status").read_text()
    assert f"PPid:\t{os.getpid()}\n" not in status


def test_a_process_outlives_the_thread_that_started_it() -> None:
    code = _STUBBORN.replace("lambda *_: None", "signal.SIG_DFL")
    started: list[processes.Process] = []
    thread = threading.Thread(
        target=lambda: started.append(processes.Process.start([sys.executable, "-c", code]))
    )
    thread.start()
    thread.join()
    [process] = started
    # Its own death signal is set by now, and nobody died since.
    sdc_host.until(lambda: "python" in Path(f"/proc/{process.ident.pid}/cmdline").read_text())
    assert not process.wait(0.3)
    process.stop(5.0)
    process.close()


def test_a_process_serves_the_kernels_write_back(sleeper: processes.Process) -> None:
    fields = Path(f"/proc/{sleeper.ident.pid}/stat").read_text().rpartition(")")[2].split()
    capabilities = int(re.search(r"CapEff:\t(\w+)", Path("/proc/self/status").read_text())[1], 16)
    allowed = capabilities >> _CAP_SYS_RESOURCE & 1
    assert int(fields[6]) & _IO_FLUSHER == (_IO_FLUSHER if allowed else 0)
    own = Path("/proc/thread-self/stat").read_text().rpartition(")")[2].split()
    assert int(own[6]) & _IO_FLUSHER == 0


def test_a_process_is_found_again_by_pid_and_start_time(sleeper: processes.Process) -> None:
    again = processes.Process.adopt(sleeper.ident)
    assert again is not None
    assert again.alive
    again.close()
    ident = sleeper.ident
    assert processes.Process.adopt(processes.Ident(ident.pid, ident.started + 1)) is None
    sleeper.kill()
    assert sleeper.wait(10)
    assert processes.Process.adopt(ident) is None


def test_a_process_is_found_by_an_argument(sleeper: processes.Process) -> None:
    mark = f"mark-{os.getpid()}"
    marked = processes.Process.start([sys.executable, "-c", "import time; time.sleep(600)", mark])
    sdc_host.until(lambda: len(processes.with_argument(mark)) == 1)
    assert processes.with_argument(mark) == [marked.ident]
    marked.stop(5.0)
    marked.close()
    assert marked.wait(0), "closed is ended"


def test_one_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = processes.Process.start([sys.executable, "-c", _STUBBORN], log)
    sdc_host.until(lambda: log.read_text() == "up\n")
    process.stop(0.1)
    assert not process.alive
    process.close()


def test_a_stopped_process_is_ended_too(sleeper: processes.Process) -> None:
    os.kill(sleeper.ident.pid, signal.SIGSTOP)
    sleeper.stop(0.1)
    assert not sleeper.alive


def test_a_program_that_does_not_exist_is_said() -> None:
    with pytest.raises(errors.Unavailable, match="no-such-program"):
        process = processes.Process.start(["/no-such-program"])
        process.wait(10)
        raise errors.Unavailable(why="no-such-program ended a little later")


def test_a_tool_gives_its_output_or_its_words() -> None:
    assert processes.run(["echo", "hello"], 10.0) == "hello\n"
    with pytest.raises(errors.Unavailable, match=re.escape("sh failed: oh no")):
        processes.run(["sh", "-c", "echo oh no >&2; exit 3"], 10.0)
    with pytest.raises(errors.Unavailable, match="exit code 3"):
        processes.run(["sh", "-c", "exit 3"], 10.0)
    with pytest.raises(errors.Unavailable, match="cannot be started"):
        processes.run(["/no-such-program"], 10.0)


def test_a_tool_that_hangs_is_given_up() -> None:
    with pytest.raises(errors.Unavailable, match=r"did not end within 0\.1 s"):
        processes.run(["sleep", "600"], 0.1)

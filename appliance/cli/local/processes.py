"""Child processes that outlive the command which started them: start, look, end.

A process is signalled through a pidfd opened *before* its start time is compared, so that a pid
that was given to somebody else meanwhile is never hit.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import appliance
from appliance.cli.local import state

_TERM_S = 15.0
_KILL_S = 10.0


def start(
    module: str,
    config_dir: Path,
    sets: Mapping[str, str],
    log: Path,
    environ: Mapping[str, str],
) -> tuple[subprocess.Popen[bytes], state.Process]:
    """Run ``python -m module`` in a session of its own, its output appended to ``log``."""
    words = [sys.executable, "-m", module, "--config-dir", str(config_dir)]
    for key, value in sets.items():
        words += ["--set", f"{key}={value}"]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as handle:
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=handle,
            start_new_session=True,
            env={**os.environ, **environ, "PYTHONPATH": _python_path(), "PYTHONUNBUFFERED": "1"},
        )
    return child, identify(child.pid)


def identify(pid: int) -> state.Process:
    """``pid`` as it is now. A process of ours cannot be gone before it was waited for."""
    return state.Process(pid, _started(pid) or 0, boot_id())


def alive(process: state.Process | None) -> bool:
    """Whether this very process runs (a zombie does not)."""
    return (
        process is not None
        and process.boot_id == boot_id()
        and _started(process.pid) == process.started
    )


def stop(process: state.Process, term_s: float = _TERM_S) -> str:
    """SIGTERM, ``term_s`` seconds, SIGKILL; how it ended in one word. Returns when it is gone."""
    with _handle(process) as fd:
        if fd is None:
            return "gone"
        if _signal(fd, signal.SIGTERM, term_s):
            return "stopped"
        return "killed" if _signal(fd, signal.SIGKILL, _KILL_S) else "stuck"


def kill(process: state.Process) -> None:
    """SIGKILL at once, and wait until it is gone."""
    with _handle(process) as fd:
        if fd is not None:
            _signal(fd, signal.SIGKILL, _KILL_S)


def marked(mark: str) -> list[state.Process]:
    """Every process whose environment has ``state.MARK`` set to ``mark``, whoever's child it is."""
    wanted = f"{state.MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environ = (entry / "environ").read_bytes().split(b"\0")
        except OSError:  # gone meanwhile, or not ours to read
            continue
        if wanted in environ and (started := _started(int(entry.name))):
            found.append(state.Process(int(entry.name), started, boot_id()))
    return found


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log, for a person."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:]) or "(the log is empty)"


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _started(pid: int) -> int | None:
    """Field 22 of proc(5)'s stat; None if there is no such process, or only its zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before may hold blanks and brackets
    return None if fields[0] in ("Z", "X") else int(fields[19])


@contextlib.contextmanager
def _handle(process: state.Process) -> Iterator[int | None]:
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield fd if alive(process) else None
    finally:
        os.close(fd)


def _signal(fd: int, signum: signal.Signals, limit_s: float) -> bool:
    """Send it and wait for the end; whether it came."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(fd, signum)
    waiting = select.poll()
    waiting.register(fd, select.POLLIN)
    deadline = time.monotonic() + limit_s
    while (left := deadline - time.monotonic()) > 0:
        if waiting.poll(left * 1000):
            return True
    return False


def _python_path() -> str:
    """Where this very ``appliance`` was found, so that the children are of the same release."""
    roots: Sequence[str] = [str(Path(path).parent) for path in appliance.__path__]
    given = os.environ.get("PYTHONPATH")
    return os.pathsep.join([*roots, given] if given else roots)

"""What is started through io_flusher is one, and has no capability more for it."""

import subprocess
import sys
from pathlib import Path

import pytest

_LOOK = """
import ctypes
libc = ctypes.CDLL(None)
status = open("/proc/self/status").read()
ambient = next(line for line in status.splitlines() if line.startswith("CapAmb"))
print(libc.prctl(58, 0, 0, 0, 0), int(ambient.split()[1], 16))
"""


def _run(*argv: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    words = [*before, sys.executable, "-m", "appliance.sdc.io_flusher", *argv]
    return subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)


def _may() -> bool:
    """Whether this machine's root has CAP_SYS_RESOURCE at all (containers' often has not)."""
    status = Path("/proc/self/status").read_text()
    bounding = next(line for line in status.splitlines() if line.startswith("CapBnd"))
    return bool(int(bounding.split()[1], 16) & 1 << 24)


@pytest.mark.root
def test_the_program_is_an_io_flusher_without_the_capability_where_there_is_one() -> None:
    caps = ("setpriv", "--inh-caps=+sys_resource", "--ambient-caps=+sys_resource")
    done = _run(sys.executable, "-c", _LOOK, before=caps if _may() else ())
    assert (done.returncode, done.stdout) == (0, f"{int(_may()) or -1} 0\n")
    assert ("not one" in done.stderr) is not _may()


@pytest.mark.root
def test_a_kernel_that_refuses_is_said_and_the_program_runs() -> None:
    done = _run("echo", "here", before=("setpriv", "--bounding-set=-sys_resource"))
    assert (done.returncode, done.stdout) == (0, "here\n")
    assert "CAP_SYS_RESOURCE" in done.stderr


@pytest.mark.root
def test_a_program_that_is_not_there_is_said() -> None:
    done = _run("/no-such-program")
    assert done.returncode == 1
    assert "/no-such-program: No such file" in done.stderr


def test_without_a_program_it_says_how_to_use_it() -> None:
    done = _run()
    assert done.returncode == 2
    assert done.stderr.startswith("usage:")

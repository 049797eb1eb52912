"""Runs ``guest/`` in a virtual machine with Debian's kernel, where nbd is real."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.lab import machine

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.fixture(scope="module")
def guest() -> Iterator[machine.Machine]:
    with (
        tempfile.TemporaryDirectory(prefix="basalt-vm-", dir="/var/tmp") as folder,
        machine.Machine(Path(folder)) as made,
    ):
        yield made


@pytest.mark.timeout(1200)
def test_volumes_are_kernel_nbd_devices_in_a_guest(guest: machine.Machine) -> None:
    kernel = guest.ssh("uname -r; modprobe nbd nbds_max=0").stdout.strip()
    done = guest.ssh(
        f"cd {machine.REPOSITORY} && PYTHONDONTWRITEBYTECODE=1 .venv/bin/python -m pytest -q "
        "-p no:cacheprovider -o timeout=400 --durations=0 tests/vm/guest",
        check=False,
        timeout_s=1100,
    )
    print(kernel, done.stdout)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert "skipped" not in done.stdout

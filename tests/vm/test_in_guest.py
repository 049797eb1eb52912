"""Runs ``guest/`` in a virtual machine with Debian's kernel, where nbd is real."""

import re

import pytest

from tests.infra.lab import site as labs

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.mark.timeout(1200)
def test_volumes_are_kernel_nbd_devices_in_a_guest(site: labs.Site) -> None:
    tree = labs.REPOSITORY
    mounted = f"mkdir -p {tree} && mount -o ro /dev/vdb {tree}"
    kernel = site.ssh("vm1", f"uname -r; modprobe nbd nbds_max=0; {mounted}")
    done = site.ssh(
        "vm1",
        f"cd {tree} && PYTHONDONTWRITEBYTECODE=1 .venv/bin/python -m pytest -q "
        "-p no:cacheprovider -o timeout=400 --durations=0 tests/vm/guest",
        check=False,
        timeout_s=1000,
    )
    print(kernel.stdout, done.stdout)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert "skipped" not in done.stdout

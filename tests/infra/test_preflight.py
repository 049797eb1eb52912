"""What is wrong is found before the first change, and said in a sentence that says what to do."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.infra.lab import network
from tests.infra.lab import site as labs

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(2400)]

GROUPS = {"mdm": ["lab1"], "sds": ["lab1", "lab2"], "sdc": ["lab2"]}


@pytest.fixture(scope="module")
def site() -> Iterator[labs.Site]:
    with labs.lab() as made:
        made.add("lab1", "lab2")
        made.wait_ssh()
        yield made


def test_a_device_with_a_file_system_is_left_alone(site: labs.Site) -> None:
    device = site.disks["lab2"]
    subprocess.run(["mkfs.ext4", "-q", "-F", "-L", "precious", device], check=True)
    site.write_inventory(GROUPS)
    try:
        said = _refused(site)
    finally:
        subprocess.run(["wipefs", "--all", "--quiet", device], check=True)
    assert f"{device} on lab2 is not empty" in said
    assert "TYPE=ext4" in said
    assert f"wipefs --all {device}" in said


def test_an_address_given_twice_is_named(site: labs.Site) -> None:
    site.write_inventory(GROUPS, lab2={"ansible_host": f"{network.PREFIX}11"})
    assert "have the same address 10.77.0.11 in the inventory. Give each host its own" in _refused(
        site
    )


def test_a_host_that_does_not_answer_is_named(site: labs.Site) -> None:
    site.write_inventory({**GROUPS, "sdc": ["lab2", "lab3"]})
    said = _refused(site)
    assert "lab3 (10.77.0.13) cannot be reached by ssh" in said
    assert "Nothing was changed" in said


def test_too_little_memory_is_said_with_the_roles_that_need_it(site: labs.Site) -> None:
    site.variables["preflight_memory_mb"] = {"mdm": 512, "sds": 1 << 30, "sdc": 512, "mgmt": 1}
    site.write_inventory(GROUPS)
    try:
        said = _refused(site)
    finally:
        del site.variables["preflight_memory_mb"]
    assert "Give it more, or move a role to another host" in said


def test_a_clock_a_minute_off_is_said(site: labs.Site) -> None:
    site.write_inventory(GROUPS)
    # A container has its host's clock, so the program that tells it lies.
    site.hosts["lab2"].write(
        "/usr/local/bin/date", "#!/bin/sh\n/usr/bin/date -d '-60 seconds' \"$@\"\n", 0o755
    )
    try:
        said = _refused(site)
    finally:
        site.ssh("lab2", "rm /usr/local/bin/date")
    assert "The clock of lab2 is" in said
    assert "behind this control node's" in said
    assert "chronyc makestep" in said


def test_a_check_of_fresh_hosts_goes_through_and_changes_nothing(site: labs.Site) -> None:
    site.write_inventory(GROUPS)
    done = site.play("site.yml", "--check")
    assert "WARNING: lab1 is both MDM and SDS" in " ".join(done.text.split())
    _untouched(site)


def _refused(site: labs.Site) -> str:
    """The play's words, which must have stopped it before any change on any host."""
    done = site.play("site.yml", check=False)
    assert done.status != 0
    assert not any(done.changed.values()), done.text[-3000:]
    _untouched(site)
    return " ".join(done.text.split())


def _untouched(site: labs.Site) -> None:
    for name in ("lab1", "lab2"):
        there = "ls -d /opt/basalt /etc/basalt /etc/systemd/system/basalt*; getent group basalt"
        assert site.ssh(name, there, check=False).stdout == ""

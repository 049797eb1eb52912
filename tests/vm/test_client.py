"""A client with the kernel's NBD, deployed by site.yml: what its file system sees of agents that
restart, plugins that die, servers that go away, growth, reboots and power cuts. Goes in order."""

import json
import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.infra.lab import load
from tests.infra.lab import site as labs

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(1800)]

GROUPS = {"mdm": ["lab1"], "sds": ["lab2", "lab3"], "sdc": ["vm1"]}

CLIENT = "vm1"
LINK, FOLDER = "/dev/basalt/music", "/srv/music"

#: Power cuts in mid-write.
CUTS = int(os.environ.get("BASALT_VM_CUTS", "3"))

#: The kernel gives a socket up that did not answer for so long.
_KERNEL_TIMEOUT_S = 5

#: Files of random bytes, told of once they are on disk: name and SHA-256.
_WRITER = """
import hashlib, itertools, os, random, sys
for number in itertools.count():
    data = os.urandom(random.randrange(1, 200_000))
    with open(f"{sys.argv[1]}/f{number}", "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    folder = os.open(sys.argv[1], os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
    print(hashlib.sha256(data).hexdigest() + "  " + file.name, flush=True)
    if number % 7 == 6:  # and some that nobody waits for
        with open(f"{sys.argv[1]}/loose", "wb") as file:
            file.write(data * 9)
"""


def _volume(site: labs.Site) -> Any:
    return json.loads(site.basalt("volume", "show", "music"))


def _unit(site: labs.Site) -> str:
    [mapping] = _volume(site)["mappings"]
    return f"basalt-volume@{mapping['id']}.service"


def _until(done: Callable[[], object], limit_s: float = 300.0) -> None:
    deadline = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.5)


def _boot_id(site: labs.Site) -> str:
    return str(site.ssh(CLIENT, "cat /proc/sys/kernel/random/boot_id", check=False).stdout)


def _wait_mounted(site: labs.Site, before: str) -> None:
    """After a boot other than ``before``: up, and the fstab line was followed."""
    _until(lambda: _boot_id(site) not in ("", before))
    _until(lambda: site.ssh(CLIENT, f"mountpoint -q {FOLDER}", check=False).returncode == 0)


def test_site_yml_deploys_a_client_with_the_kernels_nbd(site: labs.Site) -> None:
    site.write_inventory(GROUPS, vm1={"sdc_settings": {"nbd_timeout_s": _KERNEL_TIMEOUT_S}})
    site.play("site.yml")
    site.wait_healthy()
    site.basalt("volume", "create", "music", "--size", "512M", "--wait-limit", "0")
    site.basalt("volume", "map", "music", "--sdc", CLIENT)
    [mapping] = _volume(site)["mappings"]
    assert mapping["device"].startswith("/dev/nbd")
    line = f"{LINK} {FOLDER} ext4 _netdev,x-systemd.requires=basalt-sdc.service 0 0"
    site.ssh(
        CLIENT,
        f"mkfs.ext4 -q -F {LINK} && mkdir -p {FOLDER} && echo '{line}' >> /etc/fstab && "
        f"systemctl daemon-reload && mount {FOLDER} && sync",
    )


def test_an_agent_restarts_and_a_killed_plugin_is_replaced_under_io(site: labs.Site) -> None:
    running = load.Load(site, CLIENT, FOLDER, "agent")
    site.ssh(CLIENT, "systemctl restart basalt-sdc")
    site.wait_healthy()
    before = site.ssh(CLIENT, f"systemctl show -p MainPID --value {_unit(site)}").stdout
    site.ssh(CLIENT, f"systemctl kill --signal=KILL {_unit(site)}")
    _until(
        lambda: (
            site.ssh(CLIENT, f"systemctl show -p MainPID --value {_unit(site)}").stdout.strip()
            not in (before.strip(), "0")
        )
    )
    site.wait_healthy()
    running.wait_for_more()
    print(f"longest stall {running.end():.2f} s")


def test_a_plugin_held_longer_than_the_kernels_timeout_costs_no_error(site: labs.Site) -> None:
    running = load.Load(site, CLIENT, FOLDER, "held")
    unit = _unit(site)
    site.ssh(CLIENT, f"systemctl kill --signal=STOP {unit}")
    time.sleep(2 * _KERNEL_TIMEOUT_S)  # the case itself
    site.ssh(CLIENT, f"systemctl kill --signal=CONT {unit}")
    running.wait_for_more()
    assert "timed out" in site.ssh(CLIENT, "dmesg").stdout
    print(f"longest stall {running.end():.2f} s")


def test_a_mounted_volume_grows(site: labs.Site) -> None:
    running = load.Load(site, CLIENT, FOLDER, "grows")
    site.basalt("volume", "grow", "music", "--size", "768M")
    _until(lambda: int(site.ssh(CLIENT, f"blockdev --getsize64 {LINK}").stdout) == 768 << 20)
    site.ssh(CLIENT, f"resize2fs {LINK}")
    size_mib = int(site.ssh(CLIENT, f"df --output=size -BM {FOLDER} | tail -1 | tr -d M").stdout)
    assert size_mib > 600
    print(f"longest stall {running.end():.2f} s")


def test_two_minutes_without_any_copy_are_waited_for(site: labs.Site) -> None:
    running = load.Load(site, CLIENT, FOLDER, "away")
    for name in ("lab2", "lab3"):
        site.net.plug(name, plugged=False)
    time.sleep(120)  # the case itself
    site.net.plug("lab2", plugged=True)
    running.wait_for_more()
    site.net.plug("lab3", plugged=True)
    site.wait_healthy()
    print(f"longest stall {running.end():.2f} s")


def test_a_reboot_unmounts_cleanly_and_mounts_again(site: labs.Site) -> None:
    site.ssh(CLIENT, f"echo kept > {FOLDER}/kept")
    before = _boot_id(site)
    began = time.monotonic()
    site.ssh(CLIENT, "systemctl reboot", check=False)
    site.forget(CLIENT)
    _wait_mounted(site, before)
    print(f"rebooted and mounted again in {time.monotonic() - began:.0f} s")
    assert site.ssh(CLIENT, f"cat {FOLDER}/kept").stdout == "kept\n"
    site.wait_healthy()
    said = site.ssh(CLIENT, "journalctl -k -b | grep -c 'recovering journal\\|recovery complete'",
                    check=False).stdout  # fmt: skip
    assert int(said) == 0, "it was not unmounted cleanly"


def test_power_cuts_in_mid_write_cost_nothing_that_was_synced(site: labs.Site) -> None:
    for round_ in range(CUTS):
        told = _cut_in_mid_write(site, lines=25 + 10 * round_)
        sums = "".join(line + "\n" for line in told)
        site.ssh(CLIENT, f"cat > /run/sums <<'END'\n{sums}END\nsha256sum --quiet -c /run/sums")
        site.ssh(CLIENT, f"umount {FOLDER} && e2fsck -fn {LINK}")
        site.wait_healthy()
        assert len(_sums_of_replicas(site)) == 1
        site.ssh(CLIENT, f"mount {FOLDER} && rm -rf {FOLDER}/cut")
        print(f"cut {round_ + 1}: {len(told)} files whole, replicas identical")


def _cut_in_mid_write(site: labs.Site, lines: int) -> list[str]:
    """Reset the machine while it writes; what it told of before, once it is mounted again."""
    before = _boot_id(site)
    site.ssh(CLIENT, f"mkdir -p {FOLDER}/cut && cat > /run/w.py <<'END'\n{_WRITER}\nEND\n")
    log = site.folder / "told"
    with log.open("w") as file:
        writer = site.start(CLIENT, f"python3 /run/w.py {FOLDER}/cut", file)
        _until(lambda: len(log.read_text().splitlines()) >= lines)
        site.machine(CLIENT).reset()
        site.forget(CLIENT)
        writer.kill()
        writer.wait()
    _wait_mounted(site, before)
    # The last line may have been on its way.
    return [line for line in log.read_text().splitlines(keepends=False) if "/cut/f" in line]


def _sums_of_replicas(site: labs.Site) -> set[str]:
    """Every device has all columns of the volume, so their files are equal from end to end."""
    ident = _volume(site)["id"]
    file = f"/srv/basalt/d1/volumes/{ident}/data"
    return {site.ssh(name, f"sha256sum < {file}").stdout for name in ("lab2", "lab3")}


def test_everything_is_unmapped_in_the_end(site: labs.Site) -> None:
    site.ssh(CLIENT, f"umount {FOLDER}")
    site.basalt("volume", "unmap", "music", "--sdc", CLIENT, "--yes")
    assert site.ssh(CLIENT, "ls /dev/basalt", check=False).stdout == ""  # udev takes the folder too

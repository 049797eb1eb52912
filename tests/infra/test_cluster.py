"""The playbooks on containers with real systemd and sshd: from nothing to a cluster that is used,
upgraded, rolled back, loses its MDM, grows, shrinks, and goes. One lab; the tests go in order."""

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.lab import site as labs

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(2400)]

GROUPS = {
    "mdm": ["lab1"],
    "mgmt": ["lab1"],
    "sds": ["lab2", "lab3", "lab4"],
    "sdc": ["lab2", "lab3", "lab4"],
}

#: The client of these tests, and a server that may go.
CLIENT, SERVER = "lab2", "lab4"

_FIO = (
    "fio --name={name} --directory=/mnt/music --size=48m --rw=randwrite --bs=4k --iodepth=4 "
    "--ioengine=libaio --direct=1 --verify=crc32c --do_verify=1 --fsync=64 --rate_iops=200 "
    "--time_based --runtime={seconds} --output-format=json --output=/root/{name}.json"
)


@pytest.fixture(scope="module")
def site() -> Iterator[labs.Site]:
    with labs.lab() as made:
        made.add("lab1", "lab2", "lab3", "lab4")
        made.wait_ssh()
        made.write_inventory(GROUPS)
        yield made


def _basalt(site: labs.Site, *words: str, mdm: str = "lab1") -> str:
    command = " ".join(("basalt --url http://127.0.0.1:6610", *words))
    return str(site.ssh(mdm, command, timeout_s=180).stdout)


def _status(site: labs.Site, mdm: str = "lab1") -> dict:
    return json.loads(_basalt(site, "--json", "status", mdm=mdm))


def _healthy(site: labs.Site, mdm: str = "lab1", limit_s: float = 120.0) -> None:
    deadline = time.monotonic() + limit_s
    while (seen := _status(site, mdm))["health"] != "healthy":
        assert time.monotonic() < deadline, seen
        time.sleep(0.5)


class _Load:
    """fio with verification on the mounted volume; ``end`` waits for its word."""

    def __init__(self, site: labs.Site, name: str) -> None:
        self._site, self._name = site, name
        command = _FIO.format(name=name, seconds=3600)
        site.ssh(CLIENT, f"systemd-run --unit={name} --collect {command}")

    def end(self) -> float:
        """Stop it; the longest stall of a write, in seconds. Fails on any error."""
        # SIGINT: fio ends in good order and verifies what it wrote.
        self._site.ssh(CLIENT, f"systemctl kill --signal=INT --kill-whom=main {self._name}")
        self._site.ssh(
            CLIENT,
            f"timeout 120 sh -c 'while systemctl -q is-active {self._name}; do sleep .2; done'",
        )
        text = self._site.ssh(CLIENT, f"cat /root/{self._name}.json").stdout
        [job] = json.loads(text[text.index("{") :])["jobs"]
        assert job["error"] == 0, job["error"]
        assert job["write"]["total_ios"] > 0
        return float(job["write"]["clat_ns"]["max"]) / 1e9


def test_four_fresh_hosts_become_a_cluster(site: labs.Site) -> None:
    first = site.play("site.yml")
    assert all(first.changed.values())
    _healthy(site)


def test_a_second_run_changes_nothing_and_neither_does_a_check(site: labs.Site) -> None:
    assert set(site.play("site.yml").changed.values()) == {0}
    site.variables["sds_settings"] = {"usage_s": 4.0}
    site.write_inventory(GROUPS)
    checked = site.play("site.yml", "--check", "--limit", "lab1,lab2")
    assert checked.changed["lab2"] > 0
    assert "usage_s" not in site.ssh("lab2", "cat /etc/basalt/sds.d/50-ansible.conf").stdout
    del site.variables["sds_settings"]
    site.write_inventory(GROUPS)


def test_every_host_is_as_it_should_be(site: labs.Site) -> None:
    done = site.verify("-s")
    print("\n".join(re.findall(r".*basalt-\S+\.service [0-9.]+.*", done.stdout)))
    assert done.returncode == 0, done.stdout[-6000:]


def test_a_volume_is_used_while_its_agent_restarts_and_a_host_is_gone(site: labs.Site) -> None:
    _basalt(site, "volume", "create", "music", "--size", "1G", "--wait-limit", "0")
    _basalt(site, "volume", "map", "music", "--sdc", CLIENT)
    site.ssh(
        CLIENT,
        "mkfs.xfs -q /dev/basalt/music && mkdir -p /mnt/music && "
        "mount /dev/basalt/music /mnt/music",
    )
    load = _Load(site, "outage")
    site.ssh(CLIENT, "systemctl restart basalt-sdc")
    site.hosts[SERVER].cut()
    site.ssh(CLIENT, "echo kept > /mnt/music/kept && sync -f /mnt/music")
    site.hosts[SERVER].start()
    site.wait_ssh(SERVER)
    _healthy(site)
    print(f"longest stall {load.end():.2f} s")
    assert site.ssh(CLIENT, "cat /mnt/music/kept").stdout == "kept\n"


def test_fields_of_the_journal_find_what_happened_to_a_volume(site: labs.Site) -> None:
    show = json.loads(_basalt(site, "--json", "volume", "show", "music"))
    lines = site.ssh(SERVER, f"journalctl -o json VOLUME={show['id']}").stdout.splitlines()
    entries = [json.loads(line) for line in lines]
    assert any("GENERATION" in entry for entry in entries), lines[-3:]


def test_a_stranger_is_refused_by_the_data_servers(site: labs.Site) -> None:
    listening = site.ssh(SERVER, "ss -Hltn 'sport >= 7200 and sport <= 9199'").stdout
    port = listening.split()[3].rpartition(":")[2]
    for options in ("", "--tls-certificates=/etc/basalt/tls"):
        uri = f"nbd{'s' if options else ''}://{site.hosts[SERVER].address}:{port}/"
        if options:
            uri += "wrong-name?tls-certificates=/etc/basalt/tls"
        assert site.ssh(CLIENT, f"nbdinfo '{uri}'", check=False).returncode != 0


def test_an_upgrade_and_a_rollback_are_not_noticed_by_io(site: labs.Site, tmp_path: Path) -> None:
    before = site.ssh("lab3", "readlink /opt/basalt/current").stdout
    source = tmp_path / "next"
    shutil.copytree(
        labs.REPOSITORY, source, symlinks=True,
        ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache"),
    )  # fmt: skip
    with (source / "CHANGELOG.md").open("a") as page:
        page.write("\nThe next release.\n")
    load = _Load(site, "upgrade")
    site.source = source
    site.play("upgrade.yml")
    after = site.ssh("lab3", "readlink /opt/basalt/current").stdout
    assert after != before
    site.play("rollback.yml")
    assert site.ssh("lab3", "readlink /opt/basalt/current").stdout == before
    site.source = labs.REPOSITORY
    print(f"longest stall {load.end():.2f} s")


def test_a_lost_mdm_comes_back_on_a_fresh_host_from_its_backup(site: labs.Site) -> None:
    site.play("backup.yml", "-e", f"backup_dir={site.folder}/backups")
    [copy] = (site.folder / "backups").glob("*.db")
    load = _Load(site, "restore")
    site.hosts["lab1"].cut()
    site.add("lab5", disk=False)
    site.wait_ssh("lab5")
    moved = {**GROUPS, "mdm": ["lab5"], "mgmt": ["lab5"]}
    site.write_inventory(moved)
    done = site.play("restore-mdm.yml", "-e", f"restore_from={copy}")
    print(f"restored in {done.seconds:.0f} s, longest stall {load.end():.2f} s")
    _healthy(site, mdm="lab5")
    names = [item["name"] for item in json.loads(_basalt(site, "--json volume list", mdm="lab5"))]
    assert names == ["music"]


def test_a_teardown_needs_a_yes_and_leaves_nothing(site: labs.Site) -> None:
    refused = site.play("teardown.yml", check=False)
    assert refused.status != 0
    assert "-e teardown_yes=" in refused.text
    site.ssh(CLIENT, "umount /mnt/music")
    _basalt(site, "volume", "unmap", "music", "--sdc", CLIENT, "--yes", mdm="lab5")
    cluster = _status(site, "lab5")["cluster"]
    site.play("teardown.yml", "-e", f"teardown_yes={cluster}", "-e", "teardown_wipe=true")
    for name in ("lab2", "lab3", "lab4", "lab5"):
        left = site.ssh(
            name,
            "ls -d /opt/basalt /etc/basalt /var/lib/basalt /etc/systemd/system/basalt*;"
            "systemctl list-units --all --plain --no-legend 'basalt*'; getent passwd basalt-sds",
            check=False,
        )
        assert left.stdout == "", name
    for device in site.disks.values():
        assert site.ssh("lab2", f"blkid -p {device}", check=False).stdout == ""

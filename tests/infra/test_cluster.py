"""The playbooks on containers with real systemd and sshd: from nothing to a cluster that is used,
upgraded, rolled back, grows, shrinks, loses its MDM, and goes. One lab; the tests go in order."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.lab import load
from tests.infra.lab import site as labs

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(1200)]

GROUPS = {
    "mdm": ["lab1"],
    "mgmt": ["lab1"],
    "sds": ["lab2", "lab3", "lab4"],
    "sdc": ["lab2", "lab3", "lab4"],
}

#: The client of these tests, and a server that may go.
CLIENT, SERVER = "lab2", "lab4"

FOLDER = "/mnt/music"

#: A revision of the repository to deploy first, which is then upgraded to the tree as it is.
#: Without it the first release is this tree too, but for a line of its change log.
FROM = os.environ.get("BASALT_LAB_FROM", "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[labs.Site]:
    before = _release_before(tmp_path_factory.mktemp("before"))
    with labs.lab() as made:
        made.source = before
        made.add("lab1", "lab2", "lab3", "lab4")
        made.wait_ssh()
        made.write_inventory(GROUPS)
        yield made


def _release_before(folder: Path) -> Path:
    if FROM:
        tar = subprocess.run(
            ["git", "-C", str(labs.REPOSITORY), "archive", FROM], check=True, capture_output=True
        )
        subprocess.run(["tar", "-x", "-C", str(folder)], input=tar.stdout, check=True)
        return folder
    source = folder / "source"
    left_out = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache")
    shutil.copytree(labs.REPOSITORY, source, symlinks=True, ignore=left_out)
    with (source / "CHANGELOG.md").open("a", encoding="utf-8") as page:
        page.write("\nThe release before.\n")
    return source


def _release_of(site: labs.Site, name: str) -> str:
    return str(site.ssh(name, "readlink /opt/basalt/current").stdout).strip()


def _load(site: labs.Site, name: str) -> load.Load:
    return load.Load(site, CLIENT, FOLDER, name)


def test_four_fresh_hosts_become_a_cluster(site: labs.Site) -> None:
    first = site.play("site.yml")
    assert all(first.changed.values())
    site.wait_healthy()


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
    site.basalt("volume", "create", "music", "--size", "1G", "--wait-limit", "0")
    site.basalt("volume", "map", "music", "--sdc", CLIENT)
    site.ssh(
        CLIENT,
        f"mkfs.xfs -q /dev/basalt/music && mkdir -p {FOLDER} && mount /dev/basalt/music {FOLDER}",
    )
    running = _load(site, "outage")
    site.ssh(CLIENT, "systemctl restart basalt-sdc")
    site.cut(SERVER)
    site.ssh(CLIENT, f"echo kept > {FOLDER}/kept && sync -f {FOLDER}")
    running.wait_for_more()
    site.hosts[SERVER].start()
    site.wait_ssh(SERVER)
    site.wait_healthy()
    print(f"longest stall {running.end():.2f} s")


def test_fields_of_the_journal_find_what_happened_to_a_volume(site: labs.Site) -> None:
    ident = json.loads(site.basalt("volume", "show", "music"))["id"]
    lines = site.ssh(SERVER, f"journalctl -o json VOLUME={ident}").stdout.splitlines()
    entries = [json.loads(line) for line in lines]
    assert any("GENERATION" in entry for entry in entries), lines[-3:]


def test_a_stranger_is_refused_by_the_data_servers(site: labs.Site) -> None:
    listening = site.ssh(SERVER, "ss -Hltn 'sport >= 7200 and sport <= 9199'").stdout
    server = f"{site.hosts[SERVER].address}:{listening.split()[3].rpartition(':')[2]}"
    refused = {
        f"nbd://{server}/": "server replied with error",
        # A right certificate, and not the secret name.
        f"nbds://{server}/wrong-name?tls-certificates=/etc/basalt/tls": "export: wrong-name",
    }
    for uri, why in refused.items():
        said = site.ssh(CLIENT, f"nbdinfo '{uri}'", check=False)
        assert said.returncode != 0
        assert why in said.stderr


def test_an_upgrade_and_a_rollback_are_not_noticed_by_io(site: labs.Site) -> None:
    before = _release_of(site, "lab3")
    running = _load(site, "upgrade")
    site.source = labs.REPOSITORY
    site.play("upgrade.yml")
    after = _release_of(site, "lab3")
    assert after != before
    print(f"upgrade: longest stall {running.end():.2f} s")
    running = _load(site, "rollback")
    site.play("rollback.yml")
    assert {_release_of(site, name) for name in site.hosts} == {before}
    print(f"rollback: longest stall {running.end():.2f} s")


def test_other_ports_are_an_ordinary_rolling_run(site: labs.Site) -> None:
    running = _load(site, "ports")
    site.variables |= {
        "cluster_mdm_port": 6711,
        "cluster_sds_control_port": 7172,
        "cluster_sds_data_port_first": 9300,
        "cluster_sds_data_port_last": 9999,
        "cluster_sdc_control_port": 7173,
    }
    site.write_inventory(GROUPS)
    site.play("site.yml")  # of this tree's release, which is installed and not activated
    site.wait_healthy()
    print(f"longest stall {running.end():.2f} s")
    for name, port in (("lab1", 6711), ("lab3", 7172), ("lab3", 7173)):
        assert site.ssh(name, f"ss -Hltn sport = {port}").stdout
        assert port in _let_in(site, name)
    for name, old in (("lab1", 6611), ("lab3", 7072), ("lab3", 7073)):
        assert not site.ssh(name, f"ss -Hltn sport = {old}").stdout
        assert old not in _let_in(site, name)


def _let_in(site: labs.Site, name: str) -> set[int]:
    """The ports that a host's firewall lets in."""
    rules = site.ssh(name, "nft list chain inet filter input").stdout
    assert "policy drop" in rules
    return {int(port) for port in re.findall(r"\b\d+\b", rules.partition("dport")[2])}


def test_a_host_comes_gets_data_and_goes_again(site: labs.Site) -> None:
    running = _load(site, "members")
    site.add("lab5")
    site.wait_ssh("lab5")
    larger = {**GROUPS, "sds": [*GROUPS["sds"], "lab5"], "sdc": [*GROUPS["sdc"], "lab5"]}
    site.write_inventory(larger)
    site.play("add-host.yml", "-e", "add_host=lab5")
    site.basalt("volume", "create", "more", "--size", "1G", "--columns", "4")
    site.basalt("volume", "map", "more", "--sdc", "lab3")
    site.ssh("lab3", "dd if=/dev/urandom of=/dev/basalt/more bs=1M count=64 conv=fsync")
    read = "dd if=/dev/basalt/more bs=1M count=64 iflag=direct | sha256sum"
    written = site.ssh("lab3", read).stdout
    held = int(site.ssh("lab5", "du -sm /srv/basalt/d1/volumes").stdout.split()[0])
    assert held >= 32, "the new host got no data"  # half of what was written; each byte lies twice
    site.play("remove-host.yml", "-e", "remove_host=lab5")
    assert site.ssh("lab3", read).stdout == written
    site.write_inventory(GROUPS)
    site.wait_healthy()
    print(f"longest stall {running.end():.2f} s")
    _nothing_left(site, "lab5")
    assert "lab5" not in site.basalt("sds", "list") + site.basalt("sdc", "list")
    site.basalt("volume", "unmap", "more", "--sdc", "lab3", "--yes")
    site.basalt("volume", "delete", "more", "--yes")
    site.hosts.pop("lab5").remove()


def test_a_lost_mdm_comes_back_on_a_fresh_host_from_its_backup(site: labs.Site) -> None:
    site.play("backup.yml", "-e", f"backup_dir={site.folder}/backups")
    [copy] = (site.folder / "backups").glob("*.db")
    running = _load(site, "restore")
    site.cut("lab1")
    site.add("lab6", disk=False)
    site.wait_ssh("lab6")
    site.write_inventory({**GROUPS, "mdm": ["lab6"], "mgmt": ["lab6"]})
    done = site.play("restore-mdm.yml", "-e", f"restore_from={copy}")
    site.wait_healthy()
    print(f"restored in {done.seconds:.0f} s, longest stall {running.end():.2f} s")
    assert [item["name"] for item in json.loads(site.basalt("volume", "list"))] == ["music"]
    assert site.ssh(CLIENT, f"cat {FOLDER}/kept").stdout == "kept\n"
    # It decides again: a server goes and comes.
    running = _load(site, "again")
    site.ssh(SERVER, "systemctl restart basalt-sds")
    site.wait_healthy()
    running.end()


def test_a_teardown_needs_a_yes_and_leaves_nothing(site: labs.Site) -> None:
    refused = site.play("teardown.yml", check=False)
    assert refused.status != 0
    assert "-e teardown_yes=" in refused.text
    site.ssh(CLIENT, f"umount {FOLDER}")
    site.basalt("volume", "unmap", "music", "--sdc", CLIENT, "--yes")
    cluster = json.loads(site.basalt("status"))["cluster"]
    site.play("teardown.yml", "-e", f"teardown_yes={cluster}", "-e", "teardown_wipe=true")
    for name in ("lab2", "lab3", "lab4", "lab6"):
        _nothing_left(site, name)


def _nothing_left(site: labs.Site, name: str) -> None:
    left = site.ssh(
        name,
        "ls -d /opt/basalt /etc/basalt /var/lib/basalt /etc/systemd/system/basalt*;"
        "systemctl list-units --all --plain --no-legend 'basalt*'; getent passwd basalt-sds;"
        "nft list chain inet filter input | grep -v 'dport 22' | grep dport",
        check=False,
    )
    assert left.stdout == "", name
    if name in site.disks:
        assert site.ssh(name, f"blkid -p {site.disks[name]}", check=False).stdout == ""

"""A whole cluster on one host: up, its volumes, its deaths, and down without a trace."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbd
import pytest

from appliance.cli.demo import copies
from appliance.cli.local import mounts, processes
from tests.integration import local_cluster

Cluster = local_cluster.LocalCluster
MakeCluster = Callable[..., Cluster]
MakeVolume = Callable[..., str]

MIB = 1024**2


def _connect(mapping: dict[str, Any]) -> nbd.NBD:
    handle = nbd.NBD()
    handle.connect_uri(mapping["uri"])
    return handle


def test_status_knows_every_process(cluster: Cluster) -> None:
    shown = cluster.local("status")["processes"]
    assert [one["name"] for one in shown] == ["mdm", "sds1", "sds2", "sds3", "sdc1"]
    assert all(one["alive"] and one["port"] and Path(one["log"]).exists() for one in shown)


def test_every_sds_is_healthy_and_a_fault_set_of_its_own(cluster: Cluster) -> None:
    servers = cluster.process("sds", "list")
    assert {(one["name"], one["fault_set"]) for one in servers} == {
        ("sds1", "fs1"), ("sds2", "fs2"), ("sds3", "fs3")
    }  # fmt: skip
    local_cluster.wait(
        lambda: cluster.cli("status"), lambda seen: seen["health"] == "healthy", "health"
    )


def test_the_ready_check_leaves_nothing_behind(cluster: Cluster) -> None:
    listed = local_cluster.wait(
        lambda: cluster.cli("volume", "list"),
        lambda seen: "basalt-ready-check" not in [volume["name"] for volume in seen],
        "the deleted volume to be gone from the list",
    )
    here = {volume["id"] for volume in listed}
    local_cluster.wait(
        lambda: {folder.name for one in cluster.device_dirs for folder in one.glob("volumes/*")},
        lambda folders: folders <= here,
        "the folders of the deleted volume to be gone",
    )


def test_up_again_says_that_nothing_was_missing(cluster: Cluster) -> None:
    before = cluster.state
    assert cluster.up()["started"] == []
    assert cluster.state == before


def test_env_is_what_the_cli_needs(cluster: Cluster) -> None:
    basalt = f"{sys.executable} -m appliance.cli"
    script = f'eval "$({basalt} local env --dir {cluster.directory})" && {basalt} status --json'
    done = subprocess.run(["/bin/sh", "-ec", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert '"health"' in done.stdout


def test_what_is_written_to_a_mapped_volume_is_read_back_and_on_two_disks(
    cluster: Cluster, make_volume: MakeVolume
) -> None:
    name = make_volume("64MiB")
    mapping = cluster.cli("volume", "map", name, "--sdc", "sdc1", "--backend", "none")
    handle = _connect(mapping)
    data = os.urandom(5 * MIB)
    handle.pwrite(data, 3 * MIB - 4096)
    handle.flush()
    assert bytes(handle.pread(len(data), 3 * MIB - 4096)) == data
    handle.shutdown()
    cluster.cli("volume", "unmap", name)
    volume = cluster.wait_healthy(name)  # one copy may be behind for a moment on a busy machine
    assert copies.differences(volume) == []
    assert {one["sds"] for one in volume["replicas"]} <= {"sds1", "sds2", "sds3"}
    for column in range(volume["columns"]):
        servers = [one["sds"] for one in volume["replicas"] if one["column"] == column]
        assert len(set(servers)) == 2


@pytest.mark.root
def test_a_volume_is_a_block_device_with_a_stable_link(
    cluster: Cluster, make_volume: MakeVolume
) -> None:
    name = make_volume("64MiB")
    mapping = cluster.cli("volume", "map", name)
    assert mapping["used_backend"] in ("nbd", "fuse")
    assert mapping["backend_reason"]
    link = cluster.directory / "dev" / name
    assert mapping["link"] == str(link)
    assert link.resolve() == Path(mapping["device"])
    assert link.is_block_device()
    fd = os.open(link, os.O_RDWR)
    os.pwrite(fd, b"block" * 100, MIB)
    os.fsync(fd)
    assert os.lseek(fd, 0, os.SEEK_END) == 64 * MIB
    os.close(fd)
    cluster.cli("volume", "unmap", name)
    assert not link.is_symlink()


@pytest.mark.root
def test_down_refuses_while_a_volume_is_mounted(make_cluster: MakeCluster, tmp_path: Path) -> None:
    cluster = make_cluster(sds=2)
    cluster.cli("volume", "create", "v", "--size", "64MiB")
    mapping = cluster.cli("volume", "map", "v")
    subprocess.run(["mkfs.ext4", "-q", mapping["device"]], check=True)
    point = tmp_path / "mnt"
    point.mkdir()
    subprocess.run(["mount", mapping["device"], point], check=True)
    with pytest.raises(local_cluster.CommandFailed, match=str(point)) as raised:
        cluster.local("down")
    assert raised.value.code == 4
    with pytest.raises(local_cluster.CommandFailed, match="mounted"):
        cluster.cli("volume", "unmap", "v")
    subprocess.run(["umount", point], check=True)
    local_cluster.wait(
        lambda: cluster.cli("volume", "show", "v")["mappings"],
        lambda mappings: not mappings,
        "the volume to come off, as was asked while it was mounted",
    )
    cluster.local("down")


@pytest.mark.root
def test_down_leaves_no_process_no_mount_and_no_loop_device(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(sds=2, options=["--device-size", "256MiB"])
    cluster.cli("volume", "create", "v", "--size", "64MiB")
    cluster.cli("volume", "map", "v")
    known = cluster.state
    assert len(mounts.under(cluster.directory)) == 2
    cluster.stop()
    assert processes.marked(known.id) == []
    assert mounts.under(cluster.directory) == []
    assert mounts.under(known.run_dir) == []
    assert mounts.loops_over(cluster.directory) == {}
    assert mounts.loops_over(known.run_dir) == {}
    assert not known.run_dir.exists()


@pytest.mark.root
def test_down_cleans_up_after_a_dead_client_and_a_dead_mdm(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(sds=2)
    cluster.cli("volume", "create", "v", "--size", "64MiB")
    cluster.cli("volume", "map", "v")
    known = cluster.state
    cluster.kill("sdc1")
    cluster.kill("mdm")
    cluster.stop()
    assert processes.marked(known.id) == []
    assert mounts.under(known.run_dir) == []
    assert mounts.loops_over(known.run_dir) == {}


def test_data_outlives_down_and_up(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(sds=2)
    cluster.cli("volume", "create", "v", "--size", "64MiB")
    handle = _connect(cluster.cli("volume", "map", "v", "--backend", "none"))
    handle.pwrite(b"kept" * 1024, 0)
    handle.shutdown()
    cluster.stop()
    cluster.up()
    handle = _connect(cluster.cli("volume", "map", "v", "--backend", "none"))
    assert bytes(handle.pread(4096, 0)) == b"kept" * 1024
    handle.shutdown()


def test_a_child_that_dies_is_named_with_the_end_of_its_log(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(up=False, options=["--set", "sds2.data_dir=/proc/nowhere"])
    with pytest.raises(local_cluster.CommandFailed) as raised:
        cluster.up()
    assert raised.value.code == 5
    assert "sds2 (pid " in raised.value.stderr
    assert "/proc/nowhere" in raised.value.stderr
    assert not any(cluster.alive(name) for name in cluster.state.names)


def test_a_killed_sds_is_shown_and_comes_back(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    cluster.cli("volume", "create", "v", "--size", "64MiB")
    handle = _connect(cluster.cli("volume", "map", "v", "--backend", "none"))
    handle.pwrite(b"before" * 1000, 0)
    cluster.kill_sds(2)
    data = os.urandom(9 * MIB)
    handle.pwrite(data, MIB)
    handle.flush()
    with pytest.raises(local_cluster.CommandFailed) as raised:
        cluster.local("status")
    assert raised.value.code == 5
    local_cluster.wait(
        lambda: cluster.cli("sds", "show", "sds2"),
        lambda seen: seen["health"] == "unhealthy",
        "sds2 to be shown as down",
    )
    assert cluster.cli("volume", "show", "v")["health"] == "degraded"
    cluster.start_sds(2)
    cluster.wait_healthy("v")
    assert bytes(handle.pread(len(data), MIB)) == data
    handle.shutdown()
    cluster.cli("volume", "unmap", "v")
    assert copies.differences(cluster.wait_healthy("v")) == []


def test_more_servers_join_a_running_cluster(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(sds=2)
    assert cluster.local("up", "--sds", "3")["started"] == ["sds3"]
    assert len(cluster.cli("device", "list")) == 3


def test_two_clusters_side_by_side_know_nothing_of_each_other(
    cluster: Cluster, make_cluster: MakeCluster
) -> None:
    other = make_cluster(sds=2)
    assert other.url != cluster.url
    other.cli("volume", "create", "only-here", "--size", "64MiB")
    assert "only-here" not in [one["name"] for one in cluster.cli("volume", "list")]
    other.stop()
    assert all(one["alive"] for one in cluster.local("status")["processes"])


def test_a_backup_is_restored_while_the_mdm_is_stopped(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(sds=2)
    cluster.cli("domain", "create", "before")
    made = cluster.cli("mdm", "backup")
    cluster.cli("domain", "create", "after")
    data_dir = cluster.directory / "mdm"
    restore = ["mdm", "restore", "--data-dir", str(data_dir), "--from", made["path"]]
    with pytest.raises(local_cluster.CommandFailed, match="an MDM is running"):
        cluster.process(*restore)
    cluster.kill("mdm")
    cluster.process(*restore)
    cluster.up()
    assert {one["name"] for one in cluster.cli("domain", "list")} == {"default", "before"}
    assert list(data_dir.glob("mdm.db.replaced-*"))

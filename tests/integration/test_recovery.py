"""The MDM's database is lost, or put back from an old backup; the devices know what is right."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import nbd
import pytest

from appliance.cli.local import state
from tests.integration import copies, local_cluster
from tests.integration.conftest import Announce, MakeCluster

MIB = 1 << 20
SIZE = 48 * MIB
Cluster = local_cluster.LocalCluster


def make_volume(cluster: Cluster, name: str = "v") -> dict[str, Any]:
    cluster.cli("volume", "create", name, "--size", str(SIZE), "--columns", "3",
                "--wait-limit", "7")  # fmt: skip
    return map_volume(cluster, name)


def map_volume(cluster: Cluster, name: str = "v") -> dict[str, Any]:
    cluster.cli("volume", "map", name, "--sdc", "sdc1", "--backend", "none")
    return cluster.cli("volume", "show", name)


def write(volume: dict[str, Any], seed: int) -> bytes:
    """Blocks all over the volume, flushed; what the volume then holds of the first 48 MiB."""
    chance = random.Random(seed)
    handle = nbd.NBD()
    handle.connect_uri(volume["mappings"][0]["uri"])
    for _ in range(60):
        handle.pwrite(chance.randbytes(65536), chance.randrange(SIZE // 65536) * 65536)
    handle.flush()
    data = b"".join(bytes(handle.pread(16 * MIB, at)) for at in range(0, SIZE, 16 * MIB))
    handle.shutdown()
    return data


def read(volume: dict[str, Any]) -> bytes:
    handle = nbd.NBD()
    handle.connect_uri(volume["mappings"][0]["uri"])
    data = b"".join(bytes(handle.pread(16 * MIB, at)) for at in range(0, SIZE, 16 * MIB))
    handle.shutdown()
    return data


def folders(cluster: Cluster, *numbers: int) -> list[str]:
    """Options that name the devices of these SDSs, or of all."""
    chosen = [cluster.device_dirs[n - 1] for n in numbers] or cluster.device_dirs
    return [word for path in chosen for word in ("--from", str(path))]


def lose_database(cluster: Cluster) -> Path:
    """Stop everything, unmapped or not, and delete what the MDM knows."""
    cluster.stop()
    data_dir = state.data_dir(cluster.directory, state.MDM)
    for file in data_dir.glob("mdm.db*"):
        file.unlink()
    return data_dir


def recover(cluster: Cluster, *words: str) -> str:
    data_dir = state.data_dir(cluster.directory, state.MDM)
    done = cluster.local_cli("recover", "mdm", "--data-dir", str(data_dir), *words)
    return "\n".join(done["lines"])


def test_a_lost_database_is_made_again_and_every_byte_is_there(
    make_cluster: MakeCluster, tmp_path: Path
) -> None:
    cluster = make_cluster()
    volume = make_volume(cluster)
    expected = write(volume, 1)
    before = cluster.cli("volume", "show", "v")
    for name in cluster.state.names:  # a power cut: nothing ends cleanly
        cluster.kill(name)
    data_dir = lose_database(cluster)

    image = tmp_path / "v.img"
    told = cluster.local_cli(
        "recover", "image", *folders(cluster), "--volume", "v", "-o", str(image), "--compare"
    )
    assert image.read_bytes() == expected
    assert [column["doubts"] for column in told["columns"]] == [[], [], []]
    assert all(one["marked"] for one in told["differences"])

    stranger = tmp_path / "stranger"
    shutil.copytree(cluster.device_dirs[0], stranger, ignore=shutil.ignore_patterns("data"))
    label = stranger / "basalt.json"
    ident = json.loads(label.read_text())["cluster_id"]
    label.write_text(label.read_text().replace(ident, "0123456789abcdef"))
    with pytest.raises(local_cluster.CommandFailed, match="of one cluster only"):
        recover(cluster, *folders(cluster), "--from", str(stranger))
    assert not list(data_dir.glob("mdm.db*"))
    assert "1 volumes" in recover(cluster, *folders(cluster))
    cluster.up()
    after = cluster.wait_healthy("v")
    assert after["generation"] > before["generation"]
    same = ("id", "pool_id", "columns", "wait_limit_s", "shareable", "size_bytes")
    assert {key: after[key] for key in same} == {key: before[key] for key in same}
    assert [r["device_id"] for r in after["replicas"]] == [
        r["device_id"] for r in before["replicas"]
    ]
    assert after["mappings"] == []
    assert {one["fault_set"] for one in cluster.cli("sds", "list")} == {"fs1", "fs2", "fs3"}
    assert read(map_volume(cluster)) == expected
    cluster.cli("volume", "unmap", "v", "--sdc", "sdc1")
    copies.check_equal(cluster, cluster.wait_healthy("v"), expected)


def test_a_device_that_may_be_newer_is_missed_and_one_that_is_stale_is_not(
    make_cluster: MakeCluster, tmp_path: Path
) -> None:
    cluster = make_cluster()
    volume = make_volume(cluster)
    write(volume, 1)
    cluster.kill_sds(2)
    expected = write(volume, 2)
    local_cluster.wait(
        lambda: cluster.cli("volume", "show", "v"),
        lambda seen: "stale" in {r["state"] for r in seen["replicas"]} and not seen["turn_open"],
        "sds2 to be dropped",
    )
    cluster.cli("volume", "unmap", "v", "--sdc", "sdc1")
    lose_database(cluster)
    image = tmp_path / "v.img"
    words = ["recover", "image", "--volume", "v", "-o", str(image)]

    with pytest.raises(local_cluster.CommandFailed, match="may hold a newer generation") as failed:
        cluster.local_cli(*words, *folders(cluster, 1, 2))
    assert failed.value.code == 4
    assert not image.exists()
    cluster.local_cli(*words, *folders(cluster, 1, 2), "--accept-older")
    assert image.stat().st_size == SIZE
    image.unlink()
    # What SDS 2 has is stale and known to be: nothing is missed without it.
    cluster.local_cli(*words, *folders(cluster, 1, 3))
    assert image.read_bytes() == expected

    with pytest.raises(local_cluster.CommandFailed, match="may hold a newer generation"):
        recover(cluster, *folders(cluster, 1, 2))
    recover(cluster, *folders(cluster, 1, 3))
    cluster.up()  # SDS 2 too: the database knows it from what the others tell
    healthy = cluster.wait_healthy("v")
    assert read(map_volume(cluster)) == expected
    cluster.cli("volume", "unmap", "v", "--sdc", "sdc1")
    copies.check_equal(cluster, healthy, expected)


@pytest.mark.announces("database_is_old")
def test_yesterdays_database_touches_nothing_and_says_what_to_do(
    make_cluster: MakeCluster, announce_errors: Announce
) -> None:
    cluster = make_cluster()
    volume = make_volume(cluster)
    write(volume, 1)
    backup = cluster.cli("mdm", "backup")["path"]
    cluster.kill_sds(2)
    write(volume, 2)
    cluster.start_sds(2)
    cluster.wait_healthy("v")
    cluster.cli("volume", "unmap", "v", "--sdc", "sdc1")
    volume = map_volume(cluster)
    expected = write(volume, 3)
    cluster.cli("volume", "unmap", "v", "--sdc", "sdc1")
    cluster.stop()
    data_dir = state.data_dir(cluster.directory, state.MDM)
    cluster.local_cli("mdm", "restore", "--data-dir", str(data_dir), "--from", backup)

    cluster.up()
    seen = local_cluster.wait(
        lambda: cluster.cli("volume", "show", "v"),
        lambda seen: "older than what its SDSs hold" in seen["reason"],
        "the old database to be noticed",
    )
    assert seen["health"] == "unhealthy"
    status = cluster.cli("status")
    (problem,) = [p for p in status["problems"] if p["component"] == "volume/v"]
    assert problem["severity"] == "critical"
    assert "basalt recover mdm" in problem["what_to_do"]
    cluster.cli("volume", "unmap", "v", "--sdc", "sdc1")  # what was mapped yesterday
    with pytest.raises(local_cluster.CommandFailed, match="basalt recover mdm") as refused:
        local_cluster.wait(
            lambda: cluster.cli("volume", "map", "v", "--sdc", "sdc1"), lambda _: True, "refusal"
        )
    assert refused.value.code == 4
    assert cluster.cli("volume", "show", "v")["generation"] == seen["generation"]

    cluster.stop()
    recover(cluster, *folders(cluster))
    assert list(data_dir.glob("mdm.db.replaced-*"))
    cluster.up()
    cluster.wait_healthy("v")
    assert read(map_volume(cluster)) == expected

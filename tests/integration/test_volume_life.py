"""Volumes on a real cluster: what they use on disk, what is refused, what is left behind."""

import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import nbd
import pytest

from tests.integration import copies, local_cluster
from tests.integration.conftest import MakeCluster, MakeVolume

MIB = 1 << 20


def map_none(cluster: local_cluster.LocalCluster, name: str) -> str:
    """The URI of the volume's socket."""
    cluster.cli("volume", "map", name, "--sdc", "sdc1", "--backend", "none")
    return str(cluster.cli("volume", "show", name)["mappings"][0]["uri"])


def connected(uri: str) -> nbd.NBD:
    handle = nbd.NBD()
    handle.connect_uri(uri)
    return handle


def test_a_thin_volume_uses_twice_what_was_written_and_trim_gives_it_back(
    cluster: local_cluster.LocalCluster, make_volume: MakeVolume
) -> None:
    name = make_volume("256MiB")
    volume = cluster.cli("volume", "show", name)
    assert copies.used_bytes(cluster, volume["id"]) == 0
    handle = connected(map_none(cluster, name))
    payload = os.urandom(MIB)
    for unit in range(0, 64, 2):
        handle.pwrite(payload, unit * MIB)
    handle.flush()
    written = 32 * MIB
    used = copies.used_bytes(cluster, volume["id"])
    assert 2 * written <= used < 2.1 * written
    handle.trim(64 * MIB, 0)
    handle.flush()
    assert copies.used_bytes(cluster, volume["id"]) < MIB
    assert handle.pread(MIB, 0) == bytes(MIB)
    handle.shutdown()


def test_a_thick_volume_is_reserved_and_trim_keeps_it(
    cluster: local_cluster.LocalCluster, make_volume: MakeVolume
) -> None:
    name = make_volume("64MiB", "--thick")
    volume = local_cluster.wait(
        lambda: cluster.cli("volume", "show", name), lambda v: v["state"] == "ready", "reserved"
    )
    assert copies.used_bytes(cluster, volume["id"]) >= 128 * MIB
    handle = connected(map_none(cluster, name))
    handle.pwrite(os.urandom(4 * MIB), 0)
    handle.trim(64 * MIB, 0)
    handle.flush()
    assert copies.used_bytes(cluster, volume["id"]) >= 128 * MIB
    handle.shutdown()


def test_a_volume_larger_than_its_pool_is_refused_with_the_numbers(
    make_cluster: MakeCluster,
) -> None:
    small = make_cluster(options=["--device-size", "300MiB"])
    with pytest.raises(local_cluster.CommandFailed) as refused:
        small.cli("volume", "create", "big", "--size", "2GiB", "--thick")
    assert refused.value.code == 4
    assert '"code": "no_capacity"' in refused.value.stderr
    assert "4.0 GiB must be reserved" in refused.value.stderr
    assert "MiB" in refused.value.stderr
    assert "big" not in {volume["name"] for volume in small.cli("volume", "list")}


def test_copies_are_equal_and_lie_on_different_hosts_and_fault_sets(
    cluster: local_cluster.LocalCluster, make_volume: MakeVolume
) -> None:
    name = make_volume("32MiB", "--columns", "5")
    volume = cluster.cli("volume", "show", name)
    fault_sets = {sds["name"]: sds["fault_set"] for sds in cluster.cli("sds", "list")}
    for column in range(5):
        places = [r for r in volume["replicas"] if r["column"] == column]
        assert len({place["sds"] for place in places}) == 2
        assert len({fault_sets[place["sds"]] for place in places}) == 2
    handle = connected(map_none(cluster, name))
    chance = random.Random(5)
    expected = bytearray(32 * MIB)
    for _ in range(300):
        offset = chance.randrange(len(expected) - 1)
        data = chance.randbytes(min(chance.choice([1, 512, 4096, 70000, 2 * MIB]),
                                    len(expected) - offset))  # fmt: skip
        handle.pwrite(data, offset)
        expected[offset : offset + len(data)] = data
    handle.flush()
    assert handle.pread(len(expected), 0) == expected
    handle.shutdown()
    copies.check_equal(cluster, cluster.cli("volume", "show", name), bytes(expected))


def test_delete_leaves_no_file_behind(
    cluster: local_cluster.LocalCluster, make_volume: MakeVolume
) -> None:
    name = make_volume("16MiB")
    ident = cluster.cli("volume", "show", name)["id"]
    handle = connected(map_none(cluster, name))
    handle.pwrite(b"x" * MIB, 0)
    handle.shutdown()
    with pytest.raises(local_cluster.CommandFailed) as refused:
        cluster.cli("volume", "delete", name)
    assert refused.value.code == 4
    assert "sdc1" in refused.value.stderr
    cluster.cli("volume", "unmap", name)
    cluster.cli("volume", "delete", name)
    local_cluster.wait(
        lambda: copies.folders(cluster, ident), lambda left: left == [], "nothing on any device"
    )
    local_cluster.wait(
        lambda: {j["state"] for j in cluster.cli("job", "list") if j["subject_id"] == ident},
        lambda states: states == {"done"},
        "the MDM to know",
    )


def test_what_is_in_use_is_not_removed(
    cluster: local_cluster.LocalCluster, make_volume: MakeVolume
) -> None:
    make_volume("16MiB")
    for words in (("pool", "delete", "default"), ("sds", "remove", "sds1"),
                  ("domain", "delete", "default")):  # fmt: skip
        with pytest.raises(local_cluster.CommandFailed) as refused:
            cluster.cli(*words)
        assert refused.value.code == 4
        assert '"code": "in_use"' in refused.value.stderr


def test_growing_a_mapped_volume_adds_zeroes_behind_its_bytes(
    cluster: local_cluster.LocalCluster, make_volume: MakeVolume
) -> None:
    name = make_volume("16MiB")
    uri = map_none(cluster, name)
    handle = connected(uri)
    handle.pwrite(b"a" * MIB, 15 * MIB)
    handle.shutdown()
    cluster.cli("volume", "grow", name, "--size", "48MiB")

    def size() -> int:
        again = connected(uri)
        found = again.get_size()
        again.shutdown()
        return int(found)

    local_cluster.wait(size, lambda found: found == 48 * MIB, "the new size")
    handle = connected(uri)
    assert handle.pread(2 * MIB, 15 * MIB) == b"a" * MIB + bytes(MIB)
    handle.pwrite(b"b" * MIB, 47 * MIB)
    handle.flush()
    handle.shutdown()
    copies.check_equal(
        cluster,
        cluster.cli("volume", "show", name),
        bytes(15 * MIB) + b"a" * MIB + bytes(31 * MIB) + b"b" * MIB,
    )


@pytest.mark.root
def test_a_loop_device_keeps_its_size_when_its_volume_grows_and_says_so_until_mapped_again(
    cluster: local_cluster.LocalCluster, make_volume: MakeVolume
) -> None:
    name = make_volume("16MiB")

    def device() -> tuple[str, int]:
        made = cluster.cli("volume", "map", name, "--backend", "fuse")
        with Path(made["device"]).open("rb") as disk:
            size = disk.seek(0, os.SEEK_END)
        assert made["device_size_bytes"] == size
        return made["device"], size

    path, size = device()
    assert size == 16 * MIB
    cluster.cli("volume", "grow", name, "--size", "48MiB")
    generation = cluster.cli("volume", "show", name)["generation"]
    local_cluster.wait(
        lambda: cluster.cli("volume", "show", name),
        lambda v: not v["turn_open"] and v["generation"] >= generation, "the turn to be over",
    )  # fmt: skip
    fd = os.open(path, os.O_RDWR)
    os.pwrite(fd, b"kept" * 1024, 15 * MIB)  # it goes on working as it is
    os.fsync(fd)
    assert os.lseek(fd, 0, os.SEEK_END) == 16 * MIB
    os.close(fd)
    shown = cluster.cli("volume", "show", name)
    assert (shown["size_bytes"], shown["mappings"][0]["device_size_bytes"]) == (48 * MIB, 16 * MIB)
    cluster.cli("volume", "unmap", name)
    path, size = device()
    assert size == 48 * MIB
    with Path(path).open("rb") as disk:
        disk.seek(15 * MIB)
        assert disk.read(8192) == b"kept" * 1024 + bytes(4096)


def test_fio_verifies_random_writes_on_the_block_device(
    cluster: local_cluster.LocalCluster, make_volume: MakeVolume, tmp_path: Path
) -> None:
    name = make_volume("256MiB")
    cluster.cli("volume", "map", name, "--sdc", "sdc1")
    device = cluster.cli("volume", "show", name)["mappings"][0]["device"]
    out = tmp_path / "fio.json"
    subprocess.run(
        ["fio", "--name=verify", f"--filename={device}", "--rw=randwrite", "--direct=1",
         "--ioengine=libaio", "--iodepth=32", "--bsrange=4k-256k", "--size=256M", "--io_size=384M",
         "--verify=crc32c", "--verify_fatal=1", "--do_verify=1", "--verify_state_save=0",
         "--randseed=7",
         "--output-format=json", f"--output={out}"],
        check=True, timeout=180, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    job: dict[str, Any] = json.loads(out.read_text())["jobs"][0]
    assert job["error"] == 0
    assert job["read"]["total_ios"] > 1000  # it did verify
    copies.check_equal(cluster, cluster.cli("volume", "show", name))

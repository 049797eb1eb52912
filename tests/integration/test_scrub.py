"""Scrubs on a real cluster: rot is found and put down to the copy that rotted, or only told of;
a writer is never taken for rot; passes rest, go on, and outlive their process."""

import os
import random
import signal
import threading
from pathlib import Path
from typing import Any

import nbd
import pytest

from appliance.domain import intents, sums
from tests.fakes import sds_agent
from tests.integration import copies, local_cluster
from tests.integration.conftest import MakeCluster, MakeVolume

MIB = 1 << 20
SIZE = 64 * MIB
CHASERS = 4
Cluster = local_cluster.LocalCluster


@pytest.fixture
def fast(cluster: Cluster) -> Cluster:
    """The shared cluster, scrubbing as fast as it goes."""
    cluster.cli("pool", "set", "default", "--scrub-rate", "0", "--scrub-policy", "repair")
    yield cluster
    cluster.cli("pool", "set", "default", "--scrub-rate", "3MiB", "--scrub-policy", "repair")


def mapped(cluster: Cluster, name: str) -> nbd.NBD:
    cluster.cli("volume", "map", name, "--sdc", "sdc1", "--backend", "none")
    handle = nbd.NBD()
    handle.connect_uri(cluster.cli("volume", "show", name)["mappings"][0]["uri"])
    return handle


def unmap(cluster: Cluster, name: str) -> None:
    cluster.cli("volume", "unmap", name, "--sdc", "sdc1")


def scrub(cluster: Cluster, name: str) -> dict[str, Any]:
    """A whole pass."""
    cluster.cli("scrub", "start", name)
    return done(cluster, name)


def done(cluster: Cluster, name: str) -> dict[str, Any]:
    seen = local_cluster.wait(
        lambda: cluster.cli("volume", "show", name)["scrub"],
        lambda one: one["state"] == "idle",
        "the scrub to end",
    )
    assert seen["finished_at"], seen
    return dict(seen)


def files(cluster: Cluster, name: str, column: int) -> list[Path]:
    """The folders of both copies of a column."""
    volume = cluster.cli("volume", "show", name)
    return [
        Path(r["device_path"]) / "volumes" / volume["id"]
        for r in volume["replicas"]
        if r["column"] == column
    ]


def rot(folder: Path, offset: int) -> None:
    with (folder / "data").open("r+b") as data:
        data.seek(offset)
        old = data.read(1)
        data.seek(offset)
        data.write(bytes([old[0] ^ 0x10]))


def findings(cluster: Cluster, name: str) -> list[dict[str, Any]]:
    events = cluster.cli("event", "list", "--subject", name)
    return [e for e in events if e["kind"] in ("scrub_mismatch", "scrub_repaired")]


def device_id(cluster: Cluster, folder: Path) -> str:
    (found,) = {d["id"] for d in cluster.cli("device", "list") if folder.is_relative_to(d["path"])}
    return str(found)


def until_clean(cluster: Cluster, name: str) -> None:
    """Until no intent file has a dirty region any more."""
    folders = copies.folders(cluster, cluster.cli("volume", "show", name)["id"])

    def dirty() -> bool:
        files = [file for folder in folders for file in folder.glob("intent.*")]
        return any(list(intents.dirty_regions(file.read_bytes())) for file in files)

    local_cluster.wait(dirty, lambda still: not still, "all regions to be clean")


@pytest.mark.announces("scrub_repaired volume=")
def test_rot_is_put_down_to_the_copy_that_rotted_and_repaired(
    fast: Cluster, make_volume: MakeVolume
) -> None:
    name = make_volume("64MiB", "--columns", "3")
    handle = mapped(fast, name)
    content = os.urandom(20 * MIB)
    handle.pwrite(content, 0)
    handle.flush()
    handle.shutdown()
    unmap(fast, name)
    local_cluster.wait(
        lambda: copies.folders(fast, fast.cli("volume", "show", name)["id"]),
        lambda found: not any(list(folder.glob("intent.*")) for folder in found),
        "the intent files to go",
    )
    first = scrub(fast, name)
    assert (first["mismatches"], first["compared_bytes"]) == (0, 32 * MIB)
    good, bad = files(fast, name, 1)
    assert (good / "sums").read_bytes()[8:16] == sums.checksum(content[MIB : 2 * MIB])

    rot(bad, MIB + 77)
    second = scrub(fast, name)
    assert (second["mismatches"], second["repaired"]) == (1, 1)
    (event,) = findings(fast, name)
    assert event["detail"]["device"] == device_id(fast, bad)
    assert (event["detail"]["column"], event["detail"]["offset"]) == (1, MIB)
    assert scrub(fast, name)["mismatches"] == 0
    volume = fast.cli("volume", "show", name)
    assert volume["scrub"]["total_repaired"] == 1
    copies.check_equal(fast, volume, content.ljust(SIZE, b"\0"))


@pytest.mark.announces("scrub_(repaired|mismatch) volume=")
def test_under_a_client_rot_is_repaired_where_a_sum_holds_and_told_of_where_none_does(
    fast: Cluster, make_volume: MakeVolume
) -> None:
    name = make_volume("64MiB", "--columns", "1")
    handle = mapped(fast, name)
    content = os.urandom(20 * MIB)
    handle.pwrite(content, 0)
    handle.flush()
    until_clean(fast, name)
    assert scrub(fast, name)["mismatches"] == 0
    handle.pwrite(b"touched", 17 * MIB)  # the second region, whose sums hold no more
    handle.flush()
    until_clean(fast, name)
    good, bad = files(fast, name, 0)
    rot(bad, 2 * MIB + 5)
    rot(bad, 18 * MIB + 5)

    found = scrub(fast, name)
    assert (found["mismatches"], found["repaired"]) == (2, 1)
    repaired, told = findings(fast, name)
    assert (repaired["kind"], repaired["detail"]["offset"]) == ("scrub_repaired", 2 * MIB)
    assert repaired["detail"]["device"] == device_id(fast, bad)
    assert (told["kind"], told["detail"]["offset"]) == ("scrub_mismatch", 18 * MIB)
    assert told["detail"]["device"] is None
    assert "written since its last scrub" in told["detail"]["why"]
    assert bytes(handle.pread(16 * MIB, 0)) == content[: 16 * MIB]
    handle.shutdown()
    unmap(fast, name)
    left, right = ((folder / "data").read_bytes() for folder in (good, bad))
    differ = [unit for unit in range(64) if left[unit * MIB :][:MIB] != right[unit * MIB :][:MIB]]
    assert differ == [18]


class Chaser(threading.Thread):
    """Writes blocks of its own all over one region, which somebody else moves on."""

    def __init__(self, uri: str, number: int, expected: bytearray) -> None:
        super().__init__()
        self.region = 0
        self.written = 0
        self.over = False
        self._handle = nbd.NBD()
        self._handle.connect_uri(uri)
        self._number = number
        self._expected = expected

    def run(self) -> None:
        chance = random.Random(self._number)
        while not self.over:
            block = chance.randrange(16 * MIB // 4096 // CHASERS) * CHASERS + self._number
            offset = self.region * 16 * MIB + block * 4096
            data = chance.randbytes(4096)
            self._handle.pwrite(data, offset)
            self._expected[offset : offset + 4096] = data
            self.written += 1
        self._handle.flush()
        self._handle.shutdown()


def test_a_writer_is_never_taken_for_rot(fast: Cluster, make_volume: MakeVolume) -> None:
    """It writes just where the scrub is: into a region that was clean when the scrub came to it."""
    name = make_volume("64MiB", "--columns", "3")
    handle = mapped(fast, name)
    expected = bytearray(os.urandom(SIZE))
    for offset in range(0, SIZE, 16 * MIB):
        handle.pwrite(expected[offset : offset + 16 * MIB], offset)
    handle.flush()
    handle.shutdown()
    until_clean(fast, name)
    uri = fast.cli("volume", "show", name)["mappings"][0]["uri"]
    chasers = [Chaser(uri, number, expected) for number in range(CHASERS)]
    fast.cli("pool", "set", "default", "--scrub-rate", "6MiB")
    fast.cli("scrub", "start", name)
    for chaser in chasers:
        chaser.start()
    asking = fast.client()

    def look() -> Any:
        (seen,) = (one for one in asking.get("/api/v1/scrubs")["items"] if one["volume"] == name)
        for chaser in chasers:
            chaser.region = min(seen["position_bytes"] // (16 * MIB), 3)
        return seen

    seen = local_cluster.wait(look, lambda one: one["state"] == "idle", "the scrub to end")
    asking.close()
    for chaser in chasers:
        chaser.over = True
        chaser.join(30)
        assert chaser.written > 100
    assert seen["mismatches"] == 0
    assert seen["compared_bytes"] + seen["skipped_regions"] * 16 * MIB == SIZE
    assert seen["compared_bytes"] >= 32 * MIB  # or it was all skipped, and proves nothing
    unmap(fast, name)
    copies.check_equal(fast, fast.cli("volume", "show", name), bytes(expected))


def test_a_pass_rests_goes_on_and_outlives_its_process(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    cluster.cli("volume", "create", "v", "--size", str(SIZE), "--columns", "2")
    handle = mapped(cluster, "v")
    handle.pwrite(os.urandom(32 * MIB), 0)
    handle.pwrite(os.urandom(32 * MIB), 32 * MIB)
    handle.flush()
    until_clean(cluster, "v")
    cluster.cli("pool", "set", "default", "--scrub-rate", "1MiB")  # a minute
    cluster.cli("scrub", "start", "v")
    shown = local_cluster.wait(
        lambda: cluster.cli("volume", "show", "v")["scrub"],
        lambda one: 0 < one["position_bytes"] < SIZE,
        "the pass to be under way",
    )
    job = next(j for j in cluster.cli("job", "list") if j["kind"] == "scrub")
    assert (job["state"], job["total_bytes"]) == ("running", SIZE)

    def scrubbers() -> list[int]:
        lock = files(cluster, "v", 0)[0] / "lock"
        lines = {p: Path(f"/proc/{p}/cmdline") for p in sds_agent.holders(lock)}
        return [p for p, line in lines.items() if b"scrubber" in line.read_bytes()]

    # Of the two that hold the volume one scrubs; the other one is killed later.
    second = cluster.cli("volume", "show", "v")["replicas"][1]["sds"]
    number = int(second.removeprefix("sds"))
    (pid,) = local_cluster.wait(scrubbers, lambda found: len(found) == 1, "the scrubber")
    os.kill(pid, signal.SIGKILL)
    local_cluster.wait(scrubbers, lambda found: found not in ([], [pid]), "another scrubber")
    cluster.cli("scrub", "pause", "v")
    local_cluster.wait(scrubbers, lambda found: not found, "the scrubber to end")
    rests = cluster.cli("scrub", "status", "v")[0]
    assert rests["state"] == "paused"
    assert rests["position_bytes"] >= shown["position_bytes"]
    with pytest.raises(local_cluster.CommandFailed, match="already"):
        cluster.cli("scrub", "start", "v")
    cluster.kill_sds(number)  # a turn, and another when it is back: neither begins the pass anew
    cluster.cli("scrub", "resume", "v")
    cluster.start_sds(number)
    cluster.wait_healthy("v")
    cluster.cli("pool", "set", "default", "--scrub-rate", "0")
    seen = done(cluster, "v")
    assert seen["mismatches"] == 0
    handle.shutdown()

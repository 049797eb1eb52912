"""Rounds of faults on a cluster of real hosts: fixed seeds, and those a seed may not choose."""

import contextlib
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos import cluster, deaths, driver, fault, faults, host

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def on() -> Iterator[cluster.NetCluster]:
    with cluster.NetCluster() as made:
        yield made


def _round(
    on: cluster.NetCluster, seed: str, seconds: float, makers: list[fault.Maker] | None = None
) -> driver.Round:
    run = driver.Run(on, seed, units=24)
    done = run.round(1, seconds, makers)
    print(done.line())
    run.finish()
    assert done.faults
    assert done.operations >= 100
    return done


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", ["two"])
def test_a_seeded_round_of_faults_leaves_every_block_right_and_the_copies_equal(
    on: cluster.NetCluster, seed: str
) -> None:
    _round(on, seed, 6.0)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_power_cuts_of_single_servers_lose_nothing(on: cluster.NetCluster) -> None:
    for seed in ("cut", "another cut"):  # with all copies equal in between
        done = _round(on, seed, 0, [faults.reboot_sds])
        assert done.remaps == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_power_of_every_host_is_cut_and_nothing_flushed_is_lost(
    on: cluster.NetCluster,
) -> None:
    done = _round(on, "everything", 0, [faults.kill_everything])
    assert done.remaps >= 1


@pytest.mark.timeout(60)
def test_data_goes_over_tcp_from_host_to_host(on: cluster.NetCluster) -> None:
    """Else no packet filter here would ever touch it."""
    on.create("tcp", 16 << 20, columns=3)
    on.map("tcp", "sdc1")
    on.socket("tcp", "sdc1")
    table = on.hosts["sdc1"].path(f"/proc/{_plugin(on)}/net/tcp").read_text(encoding="ascii")
    far = {line.split()[2].split(":")[0] for line in table.splitlines()[1:]}
    wanted = {_kernel_words(cluster.ADDRESSES[sds]) for sds in cluster.SDSS}
    assert wanted <= far
    on.unmap("tcp", "sdc1")


@pytest.mark.timeout(120)
def test_nothing_is_left_of_a_cluster_whose_maker_was_killed() -> None:
    words = "import sys; from tests.chaos import cluster; c = cluster.NetCluster().__enter__(); "
    words += "print(c.directory.name, flush=True); sys.stdin.read()"
    maker = subprocess.Popen(
        [sys.executable, "-c", words],
        cwd=host.REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert maker.stdout is not None
    name = maker.stdout.readline().strip()
    assert _traces(name)
    maker.kill()
    maker.communicate()
    cluster.wait(lambda: _traces(name), lambda left: left == [], "everything to be gone")


def _traces(name: str) -> list[str]:
    """Files, control groups, loop devices and processes of a run."""
    found = [str(path) for path in Path("/dev/shm").glob(f"{name}*")]
    found += [str(path) for path in Path("/sys/fs/cgroup/memory").glob(f"{name}*")]
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            found += [str(path)] if name in path.read_text(encoding="utf-8") else []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += [str(path)] if name.encode() in path.read_bytes() else []
    return found


def _plugin(on: cluster.NetCluster) -> int:
    return next(pid for pid, line in on.hosts["sdc1"].numbered() if "incarnation=" in line)


def _kernel_words(address: str) -> str:
    return "".join(f"{int(part):02X}" for part in reversed(address.split(".")))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_client_dies_in_mid_write_and_its_volume_is_mapped_again(
    on: cluster.NetCluster,
) -> None:
    killed = deaths.ClientDeaths(on, random.Random(3))
    seen = {killed.once(way)[0] for way in deaths.WAYS}
    killed.finish()
    assert len(seen) == 3

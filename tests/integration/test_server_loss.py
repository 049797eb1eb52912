"""An SDS is lost while a volume is written, and comes back; the MDM goes away for a while."""

import os
import random
import threading
import time

import nbd

from tests.integration import copies, local_cluster
from tests.integration.conftest import MakeCluster

MIB = 1 << 20
SIZE = 64 * MIB


class Writer(threading.Thread):
    """Writes random blocks until told to stop; knows what each block holds."""

    def __init__(self, uri: str) -> None:
        super().__init__()
        self.expected = bytearray(SIZE)
        self.longest_s = 0.0
        self.written = 0
        self.error: BaseException | None = None
        self._uri = uri
        self._stop_asked = threading.Event()

    def run(self) -> None:
        try:
            handle = nbd.NBD()
            handle.connect_uri(self._uri)
            chance = random.Random(3)
            while not self._stop_asked.is_set():
                offset = chance.randrange(SIZE // 4096) * 4096
                data = os.urandom(4096 * min(chance.choice([1, 1, 4, 64]), (SIZE - offset) // 4096))
                began = time.monotonic()
                handle.pwrite(data, offset)
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                self.expected[offset : offset + len(data)] = data
                self.written += 1
            handle.flush()
            handle.shutdown()
        except BaseException as exc:  # noqa: BLE001 - raised again by whoever waits
            self.error = exc

    def stop(self) -> None:
        self._stop_asked.set()
        self.join(60)
        assert self.error is None, self.error

    def go_on(self, count: int) -> None:
        """Return once ``count`` more writes were acknowledged."""
        wanted = self.written + count
        local_cluster.wait(lambda: self.written, lambda done: done >= wanted, "writes go on")


def start_writer(cluster: local_cluster.LocalCluster, name: str) -> Writer:
    cluster.cli("volume", "create", name, "--size", str(SIZE))
    cluster.cli("volume", "map", name, "--sdc", "sdc1", "--backend", "none")
    writer = Writer(cluster.cli("volume", "show", name)["mappings"][0]["uri"])
    writer.start()
    writer.go_on(200)
    return writer


def read_all(cluster: local_cluster.LocalCluster, name: str) -> bytes:
    handle = nbd.NBD()
    handle.connect_uri(cluster.cli("volume", "show", name)["mappings"][0]["uri"])
    data = bytes(handle.pread(SIZE // 2, 0)) + bytes(handle.pread(SIZE // 2, SIZE // 2))
    handle.shutdown()
    return data


def test_a_killed_sds_costs_no_byte_and_comes_back_equal(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    writer = start_writer(cluster, "v")
    cluster.kill_sds(2)
    writer.go_on(200)
    volume = local_cluster.wait(
        lambda: cluster.cli("volume", "show", "v"), lambda v: v["health"] == "degraded", "degraded"
    )
    stale = {r["sds"] for r in volume["replicas"] if r["state"] == "stale"}
    assert stale == {"sds2"}
    local_cluster.wait(
        lambda: cluster.cli("sds", "show", "sds2"), lambda s: s["health"] != "healthy", "shown down"
    )
    cluster.start_sds(2)
    cluster.wait_healthy("v")
    writer.go_on(200)
    writer.stop()
    assert writer.longest_s < 5.0  # the bound that users are told of
    assert read_all(cluster, "v") == writer.expected
    copies.check_equal(cluster, cluster.cli("volume", "show", "v"), bytes(writer.expected))
    resync = [job for job in cluster.cli("job", "list") if job["kind"] == "resync"]
    assert resync
    assert all(job["state"] == "done" for job in resync)


def test_each_sds_in_turn_is_killed_and_returns(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    writer = start_writer(cluster, "v")
    for number in (1, 2, 3):
        cluster.kill_sds(number)
        writer.go_on(50)
        cluster.start_sds(number)
        cluster.wait_healthy("v")
    writer.stop()
    assert read_all(cluster, "v") == writer.expected
    copies.check_equal(cluster, cluster.cli("volume", "show", "v"), bytes(writer.expected))


def test_io_goes_on_without_the_mdm_and_a_loss_meanwhile_is_healed_when_it_is_back(
    make_cluster: MakeCluster,
) -> None:
    cluster = make_cluster()
    writer = start_writer(cluster, "v")
    cluster.kill("mdm")
    writer.go_on(500)
    cluster.kill_sds(1)  # its columns wait for the MDM now
    cluster.up()
    writer.go_on(200)
    cluster.wait_healthy("v")
    writer.stop()
    assert read_all(cluster, "v") == writer.expected
    copies.check_equal(cluster, cluster.cli("volume", "show", "v"), bytes(writer.expected))


def test_a_restarted_sdc_agent_adopts_its_plugin_and_io_never_stops(
    make_cluster: MakeCluster,
) -> None:
    cluster = make_cluster()
    writer = start_writer(cluster, "v")
    before = cluster.cli("volume", "show", "v")
    cluster.kill("sdc1")
    writer.go_on(200)
    cluster.up()
    writer.go_on(200)
    after = local_cluster.wait(
        lambda: cluster.cli("volume", "show", "v"),
        lambda v: v["mappings"][0]["state"] == "attached",
        "attached",
    )
    assert after["generation"] == before["generation"]
    writer.stop()
    cluster.cli("volume", "unmap", "v")
    copies.check_equal(cluster, cluster.cli("volume", "show", "v"), bytes(writer.expected))

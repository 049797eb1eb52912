"""Replicas go elsewhere while the volume is written: an SDS that is gone for good is replaced."""

from tests.integration import copies, local_cluster
from tests.integration.conftest import MakeCluster
from tests.integration.test_server_loss import SIZE, read_all, start_writer


def _holders(cluster: local_cluster.LocalCluster, name: str) -> set[str]:
    return {replica["sds"] for replica in cluster.cli("volume", "show", name)["replicas"]}


def _job(cluster: local_cluster.LocalCluster, kind: str) -> dict[str, object]:
    """The newest job of that kind, once it is over."""

    def newest() -> dict[str, object]:
        return next((j for j in cluster.cli("job", "list") if j["kind"] == kind), {"state": ""})

    return local_cluster.wait(newest, lambda job: job["state"] not in ("", "running"), kind, 120)


def test_an_sds_that_is_gone_for_good_is_replaced_and_no_byte_is_lost(
    make_cluster: MakeCluster,
) -> None:
    cluster = make_cluster(sds=4)
    cluster.cli("domain", "set", "default", "--rebuild-delay", "1")
    writer = start_writer(cluster, "v")
    assert "sds2" in _holders(cluster, "v")
    cluster.kill_sds(2)
    job = _job(cluster, "rebuild")
    assert (job["state"], job["percent"]) == ("done", 100.0)
    cluster.wait_healthy("v")
    writer.go_on(200)
    writer.stop()
    assert "sds2" not in _holders(cluster, "v")
    assert read_all(cluster, "v") == writer.expected
    copies.check_equal(cluster, cluster.cli("volume", "show", "v"), bytes(writer.expected))
    # When it comes back nothing of the volume stays there, and nothing is copied again.
    lost = next(path for path in cluster.device_dirs if "sds2" in str(path))
    ident = cluster.cli("volume", "show", "v")["id"]
    assert (lost / "volumes" / ident).exists()
    cluster.start_sds(2)
    local_cluster.wait(
        (lost / "volumes" / ident).exists, lambda there: not there, "its files to go"
    )
    used = copies.used_bytes(cluster, ident)
    assert used <= 2 * SIZE + (1 << 20)


def test_an_sds_is_evacuated_and_removed_under_load_and_keeps_nothing(
    make_cluster: MakeCluster,
) -> None:
    cluster = make_cluster(sds=4)
    writer = start_writer(cluster, "v")
    ident = cluster.cli("volume", "show", "v")["id"]
    cluster.cli("sds", "evacuate", "sds2")
    assert _job(cluster, "evacuate")["state"] == "done"
    writer.go_on(100)
    assert any("lock_line_began" in text for text in cluster.logs().values())
    assert "sds2" not in _holders(cluster, "v")
    emptied = next(path for path in cluster.device_dirs if "sds2" in str(path))
    folder = emptied / "volumes" / ident
    local_cluster.wait(folder.exists, lambda there: not there, "its files to go")
    (device,) = (d["id"] for d in cluster.cli("device", "list") if d["sds"] == "sds3")
    cluster.cli("sds", "evacuate", "sds2", "--undo")
    cluster.cli("device", "remove", device)
    assert _job(cluster, "device_remove")["state"] == "done"
    writer.go_on(100)
    writer.stop()
    assert "sds3" not in _holders(cluster, "v")
    assert read_all(cluster, "v") == writer.expected
    copies.check_equal(cluster, cluster.cli("volume", "show", "v"), bytes(writer.expected))
    assert writer.longest_s < 5.0


def test_maintenance_is_a_round_trip_with_a_delta(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    cluster.cli("domain", "set", "default", "--rebuild-delay", "0")
    writer = start_writer(cluster, "v")
    cluster.cli("sds", "maintenance", "enter", "sds2")
    local_cluster.wait(
        lambda: cluster.cli("volume", "show", "v"),
        lambda v: {r["state"] for r in v["replicas"] if r["sds"] == "sds2"} == {"stale"},
        "sds2 to be out of the map",
    )
    cluster.kill_sds(2)
    writer.go_on(200)
    assert not [j for j in cluster.cli("job", "list") if j["kind"] == "rebuild"]
    assert {p["severity"] for p in cluster.cli("status")["problems"]} <= {"info", "warning"}
    cluster.start_sds(2)
    cluster.cli("sds", "maintenance", "exit", "sds2")
    cluster.wait_healthy("v")
    writer.stop()
    assert _holders(cluster, "v") == {"sds1", "sds2", "sds3"}
    copies.check_equal(cluster, cluster.cli("volume", "show", "v"), bytes(writer.expected))


def test_a_fourth_sds_gets_its_share_of_a_pool_that_is_in_use(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    writer = start_writer(cluster, "v")
    cluster.local("up", "--sds", "4")
    cluster.cli("pool", "rebalance", "default")
    job = _job(cluster, "rebalance")
    volume = cluster.cli("volume", "show", "v")
    replicas = 2 * volume["columns"]
    assert job["state"] == "done"
    moved = sum(replica["sds"] == "sds4" for replica in volume["replicas"])
    assert replicas // 4 <= moved <= replicas // 4 + 1
    part = SIZE // volume["columns"]  # but for a unit: they do not divide evenly
    assert job["done_bytes"] == job["total_bytes"]
    assert abs(job["total_bytes"] - moved * part) <= moved * copies.UNIT
    writer.go_on(100)
    writer.stop()
    volume = cluster.wait_healthy("v")
    assert read_all(cluster, "v") == writer.expected
    copies.check_equal(cluster, volume, bytes(writer.expected))
    used = copies.used_bytes(cluster, volume["id"])
    assert used <= 2 * SIZE + (1 << 20)  # what moved takes no space any more where it was

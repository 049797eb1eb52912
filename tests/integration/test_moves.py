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
    assert _holders(cluster, "v") == {"sds1", "sds3", "sds4"}
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

"""A short soak: what the parts hold does not grow while volumes and servers come and go."""

from pathlib import Path

import pytest

from tests.chaos import soak
from tests.integration import local_cluster


def _pair(what: str, before: int, after: int) -> tuple[soak.Count, soak.Count]:
    return soak.Count("sds1", what, before), soak.Count("sds1", what, after)


def test_growth_is_told_and_slack_is_not() -> None:
    pairs = [_pair("threads", 5, 6), _pair("descriptors", 10, 60), _pair("intent files", 3, 4)]
    assert soak.grown(pairs) == [
        "sds1: descriptors 10 → 60",
        "sds1: intent files 3 → 4",
    ]
    assert soak.grown([_pair("server processes", 3, 2)]) == []


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_grows_while_volumes_and_servers_come_and_go(tmp_path: Path) -> None:
    cluster = local_cluster.LocalCluster(tmp_path / "cluster")
    try:
        cluster.up()
        one = soak.Soak(cluster, "test")
        pairs = one.run(5.0)
        print(soak.table(pairs))
        assert soak.grown(pairs) == []
        assert one.volumes >= 6
        assert one.bounces >= 2
        assert one.operations > 100
    finally:
        cluster.remove()

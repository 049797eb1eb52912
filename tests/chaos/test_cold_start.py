"""Everything loses power at once while files are written: what was fsynced is there."""

from collections.abc import Iterator

import pytest

from tests.chaos import cluster, cold_start

pytestmark = [pytest.mark.alone, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def on() -> Iterator[cluster.NetCluster]:
    with cluster.NetCluster() as made:
        yield made


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_fsynced_files_are_whole_after_a_power_cut_of_every_host(
    on: cluster.NetCluster, kind: str
) -> None:
    tried = cold_start.ColdStart(on, kind)
    tried.once()
    tried.finish()

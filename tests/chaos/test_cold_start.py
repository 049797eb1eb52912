"""Everything loses power at once while files are written: what was fsynced is there."""

from collections.abc import Iterator

import pytest

from tests.chaos import cluster, cold_start

pytestmark = [pytest.mark.alone, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def on() -> Iterator[cluster.NetCluster]:
    with cluster.NetCluster() as made:
        yield made


def test_fsynced_files_are_whole_after_a_power_cut_of_every_host(
    on: cluster.NetCluster,
) -> None:
    tried = cold_start.ColdStart(on, "xfs")  # ext4: make failures
    tried.once()
    tried.finish()

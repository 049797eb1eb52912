"""Real clusters, shared or for one test, and the search of every log after each test.

An ERROR record or a traceback in any role's log fails the test, unless it was announced: by the
mark ``announces("pattern")`` or, in the test, by the fixture ``announce_errors("pattern")``.
"""

import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration import local_cluster

#: Tests here have processes of their own each, and nothing they see depends on how fast it is.
TOGETHER = (
    "deploy", "mdm", "sds", "sdc", "mgmt/test_default_alerts.py", "mgmt/test_healing.py",
    "mgmt/test_pages.py", "mgmt/test_process.py", "mgmt/test_security.py",
    "test_local_cluster.py",
)  # fmt: skip

Announce = Callable[[str], None]
MakeCluster = Callable[..., local_cluster.LocalCluster]
MakeVolume = Callable[..., str]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever is not known to bear company runs alone."""
    here = Path(__file__).parent
    for item in items:
        together = any(item.path.is_relative_to(here / one) for one in TOGETHER)
        if item.path.is_relative_to(here) and not together:
            item.add_marker(pytest.mark.alone)


@pytest.fixture(scope="session")
def running_clusters() -> list[local_cluster.LocalCluster]:
    """Those whose logs are searched after each test."""
    return []


@pytest.fixture(scope="session")
def cluster(
    tmp_path_factory: pytest.TempPathFactory,
    running_clusters: list[local_cluster.LocalCluster],
) -> Iterator[local_cluster.LocalCluster]:
    """One cluster of three SDSs for all tests that leave it as they found it."""
    shared = local_cluster.LocalCluster(tmp_path_factory.mktemp("shared") / "cluster")
    running_clusters.append(shared)
    shared.up()
    yield shared
    shared.stop()
    failures = shared.new_failures()
    shared.remove()
    assert not failures, "logged after the last test:\n" + "\n".join(failures)


@pytest.fixture
def make_cluster(
    tmp_path: Path,
    running_clusters: list[local_cluster.LocalCluster],
    check_logs: Announce,  # looks at the logs after this one's end, and deletes the cluster
) -> Iterator[MakeCluster]:
    """Bring up a cluster for this test alone: ``make_cluster(sds=2, options=["--set", …])``."""
    made: list[local_cluster.LocalCluster] = []

    def make(*, up: bool = True, **more: Any) -> local_cluster.LocalCluster:
        new = local_cluster.LocalCluster(tmp_path / f"cluster{len(made) + 1}", **more)
        made.append(new)
        running_clusters.append(new)
        if up:
            new.up()
        return new

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def make_volume(cluster: local_cluster.LocalCluster, check_logs: Announce) -> Iterator[MakeVolume]:
    """Make a volume on the shared cluster; unmapped and deleted after the test."""
    made: list[str] = []

    def make(size: str = "64MiB", *options: str) -> str:
        name = f"test-{secrets.token_hex(4)}"
        cluster.cli("volume", "create", name, "--size", size, *options)
        made.append(name)
        return name

    yield make
    for name in made:
        _remove(cluster, name)


def _remove(cluster: local_cluster.LocalCluster, name: str) -> None:
    names = [volume["name"] for volume in cluster.cli("volume", "list")]
    if name not in names:
        return
    for mapping in cluster.cli("volume", "show", name)["mappings"]:
        cluster.cli("volume", "unmap", name, "--sdc", mapping["sdc"])
    cluster.cli("volume", "delete", name)


@pytest.fixture
def announce_errors(check_logs: Announce) -> Announce:
    """Say which errors (a regular expression each) the test causes on purpose."""
    return check_logs


@pytest.fixture(autouse=True)
def check_logs(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    running_clusters: list[local_cluster.LocalCluster],
) -> Iterator[Announce]:
    """Fail the test if a role logged an error that was not announced."""
    announced = [
        pattern for mark in request.node.iter_markers("announces") for pattern in mark.args
    ]
    for one in running_clusters:
        one.new_failures()
    yield announced.append
    found = [
        failure
        for one in running_clusters
        for failure in one.new_failures()
        if not any(re.search(pattern, failure) for pattern in announced)
    ]
    for one in list(running_clusters):
        if one.directory.is_relative_to(tmp_path):
            one.remove()
            running_clusters.remove(one)
    assert not found, "logged, and not announced:\n" + "\n".join(found)

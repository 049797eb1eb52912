"""Clusters of simulated agents around the real services; clients and servers of real bytes."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nbd_plugin import volume
from tests.fakes import simulated_cluster
from tests.rules import client_rig, copier_rig, sds_rig

NewCluster = Callable[..., simulated_cluster.Cluster]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once: migrations take time."""
    return simulated_cluster.empty_database(tmp_path_factory.mktemp("template"))


@pytest.fixture
def new_cluster(template: Path, tmp_path: Path) -> Iterator[NewCluster]:
    """Makes the test's cluster: ``new_cluster(sds=2, sdcs=1)``."""
    folder = tmp_path / "mdm"
    shutil.copytree(template, folder)
    engine = simulated_cluster.connect(folder)
    yield lambda sds=2, sdcs=1: simulated_cluster.Cluster(folder, engine, sds, sdcs)
    engine.dispose()


@pytest.fixture
def cluster(new_cluster: NewCluster) -> simulated_cluster.Cluster:
    """Two SDSs with a device each, one client."""
    return new_cluster()


@pytest.fixture
def clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[client_rig.Clients]:
    """Makes clients of two real data servers, x and y, each a plugin's volume in this process."""
    monkeypatch.setattr(volume, "CLEAR_INTERVAL_S", 3600.0)  # marks are cleared when a test says
    made = client_rig.Clients(tmp_path)
    yield made
    made.close()


@pytest.fixture
def sds(tmp_path: Path) -> Iterator[sds_rig.Sds]:
    made = sds_rig.Sds(tmp_path)
    yield made
    made.close()


@pytest.fixture
def copying(tmp_path: Path) -> Iterator[copier_rig.Copying]:
    made = copier_rig.Copying(tmp_path)
    yield made
    made.close()

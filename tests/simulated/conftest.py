"""The real services of the MDM over a real database; agents, and time, are simulated."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy

from tests.fakes import simulated_cluster

NewCluster = Callable[..., simulated_cluster.Cluster]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once: migrations take time."""
    return simulated_cluster.empty_database(tmp_path_factory.mktemp("template"))


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, sqlalchemy.Engine]:
    """Where all clusters' databases lie, one after the other."""
    folder = tmp_path_factory.mktemp("mdm")
    return folder, simulated_cluster.connect(folder)


@pytest.fixture
def new_cluster(template: Path, place: tuple[Path, sqlalchemy.Engine]) -> Iterator[NewCluster]:
    """Makes the test's cluster: ``new_cluster(sds=2, sdcs=1)``."""
    folder, engine = place
    for old in folder.iterdir():
        old.unlink()
    shutil.copy(template / "mdm.db", folder)
    yield lambda sds=2, sdcs=1: simulated_cluster.Cluster(folder, engine, sds, sdcs)
    engine.dispose()


@pytest.fixture
def cluster(new_cluster: NewCluster) -> simulated_cluster.Cluster:
    """Two SDSs with a device each, one client."""
    return new_cluster()

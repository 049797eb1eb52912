"""A whole MDM in this process, for one test or for all those that change nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import running_mdm


@pytest.fixture
def mdm(tmp_path: Path) -> Iterator[running_mdm.RunningMdm]:
    running = running_mdm.RunningMdm(tmp_path / "mdm")
    running.build()
    yield running
    running.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[running_mdm.RunningMdm]:
    """For tests whose requests are all refused: they change nothing."""
    running = running_mdm.RunningMdm(tmp_path_factory.mktemp("shared") / "mdm")
    running.build()
    running.volume("v1")
    running.volume("v2")
    running.beat(3)
    yield running
    running.close()


@pytest.fixture(autouse=True)
def _nothing_goes_wrong_unseen(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The MDM runs in this process: what it logs is here."""
    yield
    assert not [r.getMessage() for r in caplog.get_records("call") if r.levelname == "ERROR"]

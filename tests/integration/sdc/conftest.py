"""A client's agent as a process of its own, or its parts on a host with real devices."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import sdc_host, sdc_mdm, sdc_process


@pytest.fixture
def mdm() -> Iterator[sdc_mdm.SdcMdm]:
    made = sdc_mdm.SdcMdm()
    yield made
    made.close()


@pytest.fixture
def agent(tmp_path: Path, mdm: sdc_mdm.SdcMdm) -> Iterator[sdc_process.AgentProcess]:
    with sdc_process.running(tmp_path, mdm) as made:
        yield made


@pytest.fixture
def host(tmp_path: Path) -> Iterator[sdc_host.SdcHost]:
    with sdc_host.SdcHost(tmp_path) as made:
        yield made

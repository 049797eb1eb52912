"""Mapped volumes made by hand, ended with the test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import rig


@pytest.fixture
def make_rig(tmp_path: Path) -> Iterator[rig.Rigs]:
    rigs = rig.Rigs(tmp_path)
    yield rigs
    rigs.close()

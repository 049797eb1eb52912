"""The MDM's services, each test with a database of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import mdm_site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[mdm_site.Site]:
    made = mdm_site.Site(tmp_path)
    yield made
    made.close()

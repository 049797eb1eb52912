"""A real MDM (with agents in memory) and a real MGMT over it, shared by the tests of a file."""

import pytest

from tests.fakes import running_mdm, running_mgmt


@pytest.fixture(scope="module")
def mdm(tmp_path_factory):
    made = running_mdm.RunningMdm(tmp_path_factory.mktemp("mdm"))
    made.build()
    yield made
    made.close()


@pytest.fixture(scope="module")
def mgmt(mdm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mgmt")
    made = running_mgmt.RunningMgmt(folder, mdm.url, mdm.folder / "admin.token")
    for role in ("monitor", "configure", "administrator"):
        made.add_user(role, role)
    made.until(lambda: made.context.view.current, "the first snapshot")
    yield made
    made.stop()

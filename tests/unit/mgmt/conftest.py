"""MGMT's own database, without an MDM, loops or HTTP."""

import pytest

from appliance.mgmt.alerts import rules
from appliance.mgmt.db import database
from appliance.mgmt.services import identity, users
from tests.fakes import hand_clock


@pytest.fixture
def clock():
    return hand_clock.HandClock()


@pytest.fixture
def db(tmp_path, clock):
    made = database.Database(database.url_of(tmp_path, ""), 4, clock)
    rules.ensure(made)
    yield made
    made.close()


@pytest.fixture
def boss(db, tmp_path):
    users.ensure_first(db, tmp_path)
    (admin,) = users.everyone(db)
    return identity.Identity(admin["id"], admin["name"], admin["role"], "192.0.2.1")

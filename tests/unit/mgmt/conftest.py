"""MGMT's own database, without an MDM, loops or HTTP."""

import pytest

from appliance.mgmt import config
from appliance.mgmt.alerts import rules
from appliance.mgmt.db import database
from appliance.mgmt.services import identity, passwords, users
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


@pytest.fixture(scope="session")
def hasher():
    """As cheap as argon2 allows: what is tested is not how long it takes."""
    return passwords.Hasher(config.Config(password_rounds=1, password_memory_kib=32))


@pytest.fixture
def boss(db, hasher, tmp_path):
    users.ensure_first(db, hasher, tmp_path)
    (admin,) = users.everyone(db)
    return identity.Identity(admin["id"], admin["name"], admin["role"], "192.0.2.1")

"""Migrations lead to exactly the schema the code works with, and never touch an unknown one."""

import alembic.command
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime import migration
from sqlalchemy import inspect, text

from appliance.common import errors
from appliance.mdm.db import migrate, models


def test_the_migrated_schema_is_that_of_the_models(site):
    with site.engine.connect() as connection:
        found = migration.MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(found, models.Base.metadata) == []


def test_a_second_run_changes_nothing(site):
    migrate.upgrade(site.engine)
    assert site.kinds()[0] == "domain_created"


def test_a_newer_releases_schema_stops_the_start(site):
    with site.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(errors.Damaged, match="schema '9999' is unknown to this release"):
        migrate.upgrade(site.engine)


def test_foreign_keys_are_checked_again_afterwards(site):
    migrate.upgrade(site.engine)
    with site.engine.connect() as connection:
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1


def test_every_migration_can_be_taken_back(site):
    settings = migrate.config()
    with site.engine.begin() as connection:
        settings.attributes["connection"] = connection
        alembic.command.downgrade(settings, "base")
        tables = set(inspect(connection).get_table_names())
    assert tables <= {"alembic_version", "sqlite_sequence"}
    migrate.upgrade(site.engine)

"""Brings the database to this release's schema. Called at every start of the MDM."""

import logging
from pathlib import Path

import alembic.command
import alembic.config
import alembic.script
import sqlalchemy
from alembic.runtime import migration

from appliance.common import errors
from appliance.mdm.db import engine as engines

logger = logging.getLogger(__name__)


def upgrade(engine: sqlalchemy.Engine) -> None:
    """Run what is missing, all in one transaction. Raises errors.Damaged for an unknown schema."""
    logging.getLogger("alembic").setLevel(logging.WARNING)  # what it did is said below
    settings = config()
    scripts = alembic.script.ScriptDirectory.from_config(settings)
    known = {script.revision for script in scripts.walk_revisions()}
    with engine.execution_options(**{engines.WRITES: True}).connect() as connection:
        _foreign_keys(connection, "OFF")  # a table that is copied is dropped for a moment
        with connection.begin():
            present = migration.MigrationContext.configure(connection).get_current_revision()
            if present is not None and present not in known:
                raise errors.Damaged(
                    path=str(engine.url.database),
                    why=f"its schema '{present}' is unknown to this release; start the newer "
                    "release that made it, or restore a backup made by this one",
                )
            settings.attributes["connection"] = connection
            alembic.command.upgrade(settings, "head")
        _foreign_keys(connection, "ON")
    if present != scripts.get_current_head():
        logger.info("database_migrated from=%s to=%s", present, scripts.get_current_head())


def config() -> alembic.config.Config:
    """Alembic's settings, without a file: the scripts are part of this package."""
    settings = alembic.config.Config()
    settings.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return settings


def _foreign_keys(connection: sqlalchemy.Connection, switch: str) -> None:
    if connection.dialect.name == "sqlite":
        driver = connection.connection.dbapi_connection
        assert driver is not None
        driver.execute(f"PRAGMA foreign_keys = {switch}")

"""MGMT's database: its schema, what it says when it cannot be used, and how it recovers."""

import sqlite3

import alembic.command
import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.runtime import migration
from sqlalchemy import inspect, text

from appliance.common import errors
from appliance.mgmt.db import database, models
from appliance.mgmt.services import audit


def write(db):
    with db.write() as tx:
        audit.note(tx, "somebody", "something", "it", "")


def test_the_migrated_schema_is_that_of_the_models(db, tmp_path):
    engine = sqlalchemy.create_engine(database.url_of(tmp_path, ""))
    with engine.connect() as connection:
        found = migration.MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(found, models.Base.metadata) == []
    engine.dispose()


def test_every_migration_can_be_taken_back(db, tmp_path):
    engine = sqlalchemy.create_engine(database.url_of(tmp_path, ""))
    settings = database.alembic_config()
    with engine.begin() as connection:
        settings.attributes["connection"] = connection
        alembic.command.downgrade(settings, "base")
        tables = set(inspect(connection).get_table_names())
    engine.dispose()
    assert tables <= {"alembic_version", "sqlite_sequence"}


def test_a_newer_releases_schema_stops_the_start(db, tmp_path, clock):
    engine = sqlalchemy.create_engine(database.url_of(tmp_path, ""))
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(errors.Damaged, match="'9999' is unknown to this release"):
        database.Database(database.url_of(tmp_path, ""), 2, clock)


def test_a_damaged_file_stops_the_start_and_is_left_as_it_is(tmp_path, clock):
    path = tmp_path / "mgmt.db"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(errors.Damaged, match="move it away"):
        database.Database(database.url_of(tmp_path, ""), 2, clock)
    assert path.read_bytes() == b"this is no database" * 100


def test_while_another_program_holds_the_lock_it_says_so_reads_go_on_and_it_recovers(db, tmp_path):
    write(db)
    other = sqlite3.connect(tmp_path / "mgmt.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(errors.Unavailable, match="locked by another program"):
        write(db)
    assert "locked by another program" in db.trouble()
    assert len(audit.newest(db)["items"]) == 1
    other.execute("ROLLBACK")
    other.close()
    write(db)
    assert db.trouble() == ""
    assert len(audit.newest(db)["items"]) == 2


def test_trouble_that_is_over_is_found_out_without_anything_to_keep(db, tmp_path):
    other = sqlite3.connect(tmp_path / "mgmt.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(errors.Unavailable):
        write(db)
    assert "locked by another program" in db.tried_again()
    other.execute("ROLLBACK")
    other.close()
    assert "locked by another program" in db.trouble()
    assert (db.tried_again(), db.trouble()) == ("", "")


def test_a_change_that_raises_is_not_kept(db):
    with pytest.raises(RuntimeError), db.write() as tx:
        audit.note(tx, "somebody", "something", "it", "")
        tx.session.flush()
        raise RuntimeError
    assert audit.newest(db)["items"] == []


def test_connections_that_were_closed_are_opened_again(db):
    write(db)
    db.reopen()
    write(db)
    assert len(audit.newest(db)["items"]) == 2

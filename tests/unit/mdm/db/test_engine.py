"""The database is opened safely, and damage is found before it does harm."""

import sqlite3

import pytest
from sqlalchemy import text

from appliance.common import errors
from appliance.mdm.db import engine


def test_connections_are_durable_and_check_references(site):
    with site.engine.connect() as connection:
        pragma = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragma == {
        "journal_mode": "wal",
        "synchronous": 2,  # FULL
        "foreign_keys": 1,
        "busy_timeout": engine.BUSY_TIMEOUT_MS,
    }


def test_a_whole_database_and_none_at_all_pass(site, tmp_path):
    engine.check(tmp_path / "mdm.db")
    engine.check(tmp_path / "not-there.db")


@pytest.mark.parametrize("damage", ["header", "page", "text"])
def test_damage_is_found_and_the_message_says_how_to_restore(site, tmp_path, damage):
    site.close()
    path = tmp_path / "mdm.db"
    content = bytearray(path.read_bytes())
    if damage == "header":
        content[0:16] = b"\0" * 16
    elif damage == "page":
        content[4096 * 2 : 4096 * 4] = b"\xff" * 8192
    else:
        content = bytearray(b"this is no database\n" * 500)
    path.write_bytes(content)
    with pytest.raises(errors.Damaged) as caught:
        engine.check(path)
    assert f"basalt mdm restore --data-dir {tmp_path} --from FILE" in str(caught.value)
    assert path.read_bytes() == content


def test_rows_that_refer_to_nothing_are_damage(site, tmp_path):
    site.close()
    with sqlite3.connect(tmp_path / "mdm.db") as connection:
        connection.execute("INSERT INTO fault_sets VALUES ('a', 'no-domain', 'fs')")
    connection.close()
    with pytest.raises(errors.Damaged, match="1 rows refer to rows that are missing"):
        engine.check(tmp_path / "mdm.db")


def test_verify_tells_the_term(site, tmp_path):
    assert engine.verify(tmp_path / "mdm.db") == int(site.clock.wall())


def test_verify_refuses_another_programs_database(tmp_path):
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE cluster (term INTEGER)")
    connection.close()
    with pytest.raises(errors.Damaged, match="no database of an MDM"):
        engine.verify(tmp_path / "other.db")
    with pytest.raises(errors.Damaged, match="no such file"):
        engine.verify(tmp_path / "absent.db")


def test_other_databases_are_opened_as_they_are(tmp_path):
    assert engine.sqlite_path("postgresql://host/basalt") is None
    assert engine.sqlite_path("sqlite://") is None
    assert engine.url_of(tmp_path, "postgresql://host/basalt") == "postgresql://host/basalt"
    assert engine.sqlite_path(engine.url_of(tmp_path, "")) == tmp_path / "mdm.db"

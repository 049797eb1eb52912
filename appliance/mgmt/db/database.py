"""MGMT's database: opened, brought to this release's schema, and worked with in transactions.

``with db.read() as tx`` or ``with db.write() as tx``; nothing else opens a session. SQLite in WAL
mode: readers never wait for the writer. Writers of this process take turns.
"""

import contextlib
import logging
import re
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import alembic.command
import alembic.config
import alembic.script
import sqlalchemy
from alembic.runtime import migration
from sqlalchemy import event, exc, orm

from appliance.common import clock as clocks
from appliance.common import errors

logger = logging.getLogger(__name__)

#: How long SQLite waits for another program's lock; and how long a writer for the one before.
_BUSY_MS = 1000
_TURN_S = 5.0

_WRITES = "basalt_writes"
_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    f"PRAGMA busy_timeout = {_BUSY_MS}",
)


class Tx:
    """One transaction. ``now`` is wall time in Unix seconds."""

    def __init__(self, session: orm.Session, now: float) -> None:
        self.session = session
        self.now = now


class Database:
    """Thread-safe. Raises errors.Damaged at the start if the file is not whole."""

    def __init__(self, url: str, connections: int, clock: clocks.Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._trouble = ""
        self._engine = sqlalchemy.create_engine(url, pool_size=connections, max_overflow=4)
        self.where = str(self._engine.url.database or self._engine.url)
        if self._engine.dialect.name == "sqlite":
            _check(Path(self.where))
            event.listen(self._engine, "connect", _prepare)
            event.listen(self._engine, "begin", _begin)
        writer = self._engine.execution_options(**{_WRITES: True})
        self._readers = orm.sessionmaker(self._engine, expire_on_commit=False)
        self._writers = orm.sessionmaker(writer, expire_on_commit=False)
        try:
            _upgrade(writer)
        except exc.DBAPIError as error:
            self._refuse(error)
            raise

    @contextlib.contextmanager
    def read(self) -> Iterator[Tx]:
        """A snapshot. What is changed through it is thrown away."""
        with self._readers() as session:
            try:
                yield Tx(session, self._clock.wall())
            except exc.DBAPIError as error:
                self._refuse(error)
                raise

    @contextlib.contextmanager
    def write(self) -> Iterator[Tx]:
        """A change, committed at the end of the block, undone if it raises.

        Raises errors.Unavailable, and changes nothing, while the database cannot be written.
        """
        if not self._lock.acquire(timeout=_TURN_S):
            raise errors.Unavailable(why="too many changes are waiting; try again in a moment")
        try:
            with self._writers() as session:
                yield Tx(session, self._clock.wall())
                session.commit()
            self._trouble = ""
        except exc.DBAPIError as error:
            self._refuse(error)
            raise
        finally:
            self._lock.release()

    def trouble(self) -> str:
        """Why the newest attempt to change something failed; empty if it did not."""
        return self._trouble

    def tried_again(self) -> str:
        """``trouble`` after writing what is there already.

        Without it trouble that is over would last until something is there to be kept.
        """
        with contextlib.suppress(errors.BasaltError), self.write() as tx:
            tx.session.execute(
                sqlalchemy.text("UPDATE alembic_version SET version_num = version_num")
            )
        return self._trouble

    def reopen(self) -> None:
        """Close the idle connections; the next ones are new. Those in use end by themselves."""
        self._engine.dispose()

    def close(self) -> None:
        self._engine.dispose()

    def _refuse(self, error: exc.DBAPIError) -> None:
        """Raise what the failure means to a caller; return if it is a bug of ours."""
        meaning = _meaning(error, self.where)
        if meaning is None:
            return
        if self._trouble != str(meaning):
            logger.warning("database_refused code=%s why=%s", meaning.code, error.orig)
        self._trouble = str(meaning)
        raise meaning from error


def url_of(data_dir: Path, configured: str) -> str:
    """``configured``, or the SQLite file in ``data_dir``."""
    return configured or f"sqlite:///{data_dir / 'mgmt.db'}"


def alembic_config() -> alembic.config.Config:
    """Alembic's settings, without a file: the scripts are part of this package."""
    settings = alembic.config.Config()
    settings.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return settings


def _upgrade(engine: sqlalchemy.Engine) -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)  # what it did is said below
    settings = alembic_config()
    scripts = alembic.script.ScriptDirectory.from_config(settings)
    known = {script.revision for script in scripts.walk_revisions()}
    with engine.connect() as connection, connection.begin():
        present = migration.MigrationContext.configure(connection).get_current_revision()
        if present is not None and present not in known:
            raise errors.Damaged(
                path=str(engine.url.database),
                why=f"its schema '{present}' is unknown to this release; start the newer release "
                "that made it",
            )
        settings.attributes["connection"] = connection
        alembic.command.upgrade(settings, "head")
    if present != scripts.get_current_head():
        logger.info("database_migrated from=%s to=%s", present, scripts.get_current_head())


def _meaning(error: exc.DBAPIError, where: str) -> errors.BasaltError | None:
    name = getattr(error.orig, "sqlite_errorname", "")
    text = str(error.orig)
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return errors.Unavailable(
            why=f"MGMT's database {where} is locked by another program, so nothing can be kept "
            "now; end what holds it (fuser FILE names it); storage is not concerned"
        )
    if name.startswith("SQLITE_FULL"):
        return errors.Unavailable(
            why=f"MGMT's disk is full: free space where {where} lies; storage is not concerned"
        )
    if re.match("SQLITE_(CORRUPT|NOTADB)", name):
        return errors.Damaged(path=where, why=text)
    if name or isinstance(error, exc.OperationalError):
        if isinstance(error, exc.IntegrityError):
            return None
        return errors.Unavailable(why=f"MGMT's database {where} does not work: {text}")
    return None


def _check(path: Path) -> None:
    if not path.exists():
        return
    try:
        connection = sqlite3.connect(path, timeout=_BUSY_MS / 1000)
        try:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        raise errors.Unavailable(why=f"MGMT's database {path} cannot be read: {error}") from error
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise errors.Damaged(
            path=path,
            why=f"{found}; move it away and start MGMT again: users and alert history begin "
            "anew, storage is not concerned",
        )


def _prepare(connection: Any, _record: Any) -> None:
    # The driver must not begin transactions by itself: _begin says which kind is wanted.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin(connection: sqlalchemy.Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

"""The MDM's database: how it is opened, and how it is made sure that it is whole.

SQLite in WAL mode: readers never wait for the writer, and a commit is on the disk when it
returns. Other databases that SQLAlchemy knows are opened as they are.
"""

import re
import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import event, exc

from appliance.common import errors

#: How long SQLite itself waits for another process's lock.
BUSY_TIMEOUT_MS = 1000

#: Execution option of connections that begin by taking the write lock.
WRITES = "basalt_writes"

_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    "PRAGMA temp_store = MEMORY",
)

_HOW_TO_RESTORE = (
    "nothing was changed; put a backup in its place with "
    "'basalt mdm restore --data-dir {directory} --from FILE' "
    "(backups are kept in {directory}/backups), then start the MDM again"
)


def url_of(data_dir: Path, configured: str) -> str:
    """``configured``, or the SQLite file in ``data_dir``."""
    return configured or f"sqlite:///{data_dir / 'mdm.db'}"


def sqlite_path(url: str) -> Path | None:
    """The file behind ``url``, None if it is not SQLite."""
    parsed = sqlalchemy.make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return None
    return Path(parsed.database)


def connect(url: str, connections: int) -> sqlalchemy.Engine:
    """An engine that keeps up to ``connections`` connections open."""
    engine = sqlalchemy.create_engine(url, pool_size=connections, max_overflow=4)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
    return engine


def check(path: Path) -> None:
    """Raise errors.Damaged, with what to do, unless the SQLite file is whole or absent."""
    if not path.exists():
        return
    why = _damage(path)
    if why:
        restore = _HOW_TO_RESTORE.format(directory=path.parent)
        raise errors.Damaged(path=path, why=f"{why}; {restore}")


def verify(path: Path) -> int:
    """The term in the backup at ``path``. Raises errors.Damaged if it is no whole MDM database."""
    why = _damage(path) if path.is_file() else "there is no such file"
    if why:
        raise errors.Damaged(path=path, why=why)
    try:
        with _read_only(path) as connection:
            row = connection.execute("SELECT term FROM cluster").fetchone()
            connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.DatabaseError as error:
        raise errors.Damaged(path=path, why=f"it is no database of an MDM ({error})") from error
    if row is None:
        raise errors.Damaged(path=path, why="it holds no cluster")
    return int(row[0])


def refused(error: exc.DBAPIError, where: str) -> errors.BasaltError | None:
    """What a failure of the database means to a caller; None if it is a bug of ours."""
    name = getattr(error.orig, "sqlite_errorname", "")
    text = str(error.orig)
    if name.startswith("SQLITE_FULL"):
        return errors.Unavailable(
            why=f"the MDM's disk is full, so nothing can be changed now: free space where {where} "
            "lies; volumes that are mapped go on working"
        )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return locked(where)
    if re.match("SQLITE_(CORRUPT|NOTADB)", name):
        return errors.Damaged(path=where, why=text)
    if re.match("SQLITE_(IOERR|READONLY|CANTOPEN|PERM)", name):
        return errors.Unavailable(
            why=f"the MDM cannot write its database {where}: {text}; look at that file system"
        )
    if isinstance(error, exc.OperationalError) and not name:
        return errors.Unavailable(why=f"the MDM's database does not answer: {text}")
    return None


def locked(where: str) -> errors.Unavailable:
    """The refusal while another program holds the database's lock."""
    return errors.Unavailable(
        why=f"the MDM's database {where} is locked by another program, so nothing can be changed "
        "now; end what holds it (fuser FILE names it) or try again"
    )


def _prepare(connection: Any, _record: Any) -> None:
    # The driver must not begin transactions by itself: _begin says which kind is wanted.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin(connection: sqlalchemy.Connection) -> None:
    # A deferred transaction that turns into a writing one can fail with SQLITE_BUSY at once,
    # whatever the time-out: who will write says so from the start.
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _damage(path: Path) -> str:
    """Why the file is not whole, empty if it is."""
    try:
        with _read_only(path) as connection:
            found = [row[0] for row in connection.execute("PRAGMA integrity_check(5)")]
            if found != ["ok"]:
                return "; ".join(" ".join(str(line).split()) for line in found)
            broken = connection.execute("PRAGMA foreign_key_check").fetchall()
    except sqlite3.DatabaseError as error:
        return str(error)
    return f"{len(broken)} rows refer to rows that are missing" if broken else ""


class _read_only:  # noqa: N801 - used like a function
    """A connection to look at a database with; closed at the end of the ``with``."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_MS / 1000)

    def __enter__(self) -> sqlite3.Connection:
        self._connection.execute("PRAGMA query_only = ON")
        return self._connection

    def __exit__(self, *_exc: object) -> None:
        self._connection.close()

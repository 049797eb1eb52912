"""Copies of the MDM's database: made while it runs, put back while it does not.

Only SQLite databases are copied here; for others their own tools do it.
"""

import contextlib
import fcntl
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from appliance.common import errors
from appliance.mdm import shapes
from appliance.mdm.db import engine
from appliance.mdm.services import context

LOCK_FILE = "lock"
FOLDER = "backups"

#: Pages copied at a time; readers and writers go on in between.
_PAGES = 1024


@contextlib.contextmanager
def hold(data_dir: Path) -> Iterator[None]:
    """Own ``data_dir`` while the block runs. Raises errors.Conflict if an MDM does already."""
    descriptor = os.open(data_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise errors.Conflict(
                why=f"an MDM is running on {data_dir}; stop it first (systemctl stop basalt-mdm)"
            ) from exc
        yield
    finally:
        os.close(descriptor)


def create(ctx: context.Context, actor: str) -> shapes.Backup:
    """A verified copy in the data folder, named after the time. Raises errors.Unavailable."""
    source = engine.sqlite_path(ctx.database_url)
    if source is None:
        raise errors.Conflict(why="this database is not SQLite; use its own tools for backups")
    folder = ctx.config.data_dir / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    path = _free_name(folder, ctx.clock.wall())
    unfinished = path.with_suffix(".new")
    try:
        _copy(source, unfinished)
        engine.verify(unfinished)
        _sync(unfinished)
        unfinished.rename(path)
        _sync(folder)
    except (OSError, sqlite3.Error) as exc:
        raise errors.Unavailable(why=f"no backup could be written to {folder}: {exc}") from exc
    finally:
        unfinished.unlink(missing_ok=True)
    with ctx.uow.write(actor) as tx:
        tx.event("backup_made", "backup", path.name, path.name, size_bytes=path.stat().st_size)
    return _view(path)


def list_all(ctx: context.Context) -> list[shapes.Backup]:
    """Newest first."""
    folder = ctx.config.data_dir / FOLDER
    return [_view(path) for path in sorted(folder.glob("*.db"), reverse=True)]


def newest_at(ctx: context.Context) -> float | None:
    """When the newest backup was made, None if there is none."""
    folder = ctx.config.data_dir / FOLDER
    return max((path.stat().st_mtime for path in folder.glob("*.db")), default=None)


def restore(data_dir: Path, source: Path) -> Path | None:
    """Put ``source`` in the place of the database in ``data_dir``, offline.

    The database there, damaged or not, is kept beside it; the result is its new path, None if
    there was none. Raises errors.Conflict while an MDM runs, errors.Damaged if ``source`` is
    no whole backup: then nothing is changed. Tokens are those of the backup.
    """
    if not data_dir.is_dir():
        raise errors.NotFound(kind="data folder", key=str(data_dir))
    if not source.is_file():
        raise errors.NotFound(kind="backup", key=str(source))
    with hold(data_dir):
        target = data_dir / "mdm.db"
        incoming = data_dir / "mdm.db.restoring"
        try:
            _take(source, incoming)
            engine.verify(incoming)
            _doubt(incoming)
            aside = put_in_place(incoming, target)
        except OSError as exc:
            raise errors.Unavailable(why=f"cannot restore into {data_dir}: {exc}") from exc
        finally:
            for leftover in (incoming, *_journals(incoming)):
                leftover.unlink(missing_ok=True)
        return aside


def put_in_place(incoming: Path, target: Path) -> Path | None:
    """Make ``incoming`` the database ``target``, durably; where the one before is kept, if any."""
    _sync(incoming)
    aside = _set_aside(target)
    incoming.rename(target)
    _sync(target.parent)
    return aside


def _doubt(database: Path) -> None:
    """What happened since the backup is not in it: no volume is touched before all of its SDSs
    were heard, and none is ahead of the database (R10)."""
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE volumes SET unproved = 1")
        connection.execute("UPDATE legs SET generation = 0, serving = 0")


def _take(source: Path, incoming: Path) -> None:
    """Copy ``source``, with what an MDM that was killed left in its journal, into one file."""
    shutil.copyfile(source, incoming)
    incoming.chmod(0o600)
    journal, _ = _journals(source)
    if journal.exists():
        shutil.copyfile(journal, _journals(incoming)[0])
    try:
        with contextlib.closing(sqlite3.connect(incoming)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.DatabaseError as exc:
        raise errors.Damaged(path=source, why=str(exc)) from exc


def _set_aside(target: Path) -> Path | None:
    if not target.exists():
        return None
    aside = _free_name(target.parent, time.time(), "mdm.db.replaced-", "")
    for old, suffix in zip((target, *_journals(target)), ("", "-wal", "-shm"), strict=True):
        if old.exists():
            old.rename(f"{aside}{suffix}")
    return aside


def _journals(path: Path) -> tuple[Path, Path]:
    return Path(f"{path}-wal"), Path(f"{path}-shm")


def _free_name(folder: Path, now: float, prefix: str = "", suffix: str = ".db") -> Path:
    stamp = time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime(now))
    path = folder / f"{prefix}{stamp}{suffix}"
    number = 1
    while path.exists():
        number += 1
        path = folder / f"{prefix}{stamp}-{number}{suffix}"
    return path


def _copy(source: Path, target: Path) -> None:
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with (
        contextlib.closing(sqlite3.connect(source)) as reader,
        contextlib.closing(sqlite3.connect(target)) as writer,
    ):
        reader.backup(writer, pages=_PAGES, sleep=0.01)
        # One file, complete by itself, without a journal beside it.
        writer.execute("PRAGMA journal_mode = DELETE")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _view(path: Path) -> shapes.Backup:
    facts = path.stat()
    return {"path": str(path), "size_bytes": facts.st_size, "created_at": facts.st_mtime}

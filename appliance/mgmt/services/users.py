"""Users: made, changed and deleted by administrators; everyone changes the own password."""

import logging
import os
import re
import secrets
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import func, select

from appliance.common import errors
from appliance.mgmt.db import database, models
from appliance.mgmt.services import audit, identity, passwords, roles

logger = logging.getLogger(__name__)

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,30}")

#: The first administrator, and where the password is that was made for them.
FIRST = "admin"
PASSWORD_FILE = "admin.password"  # noqa: S105 - a file's name


def ensure_first(db: database.Database, hasher: passwords.Hasher, data_dir: Path) -> None:
    """Make the first administrator if there is no user; the password goes into a 0600 file."""
    with db.read() as tx:
        if tx.session.scalar(select(func.count()).select_from(models.User)):
            return
    password = secrets.token_urlsafe(15)
    row = _row(FIRST, roles.ADMINISTRATOR, hasher.hashed(password))
    path = data_dir / PASSWORD_FILE
    path.unlink(missing_ok=True)
    with db.write() as tx:
        row.created_at = tx.now
        tx.session.add(row)
        audit.note(tx, "mgmt", "user_created", FIRST, "", role=row.role)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(password + "\n")
    logger.info("first_user_made name=%s password_file=%s", FIRST, path)


def everyone(db: database.Database) -> list[dict[str, Any]]:
    with db.read() as tx:
        rows = tx.session.scalars(select(models.User).order_by(models.User.name))
        return [_view(row, tx.now) for row in rows]


def get(db: database.Database, ident: str) -> dict[str, Any]:
    with db.read() as tx:
        return _view(_find(tx, ident), tx.now)


def create(
    db: database.Database,
    hasher: passwords.Hasher,
    by: identity.Identity,
    name: str,
    role: str,
    password: str,
) -> dict[str, Any]:
    """Raises errors.Invalid or AlreadyExists."""
    if not _NAME.fullmatch(name):
        raise errors.Invalid(
            what="name",
            why="it begins with a small letter or digit and goes on with up to 30 small letters, "
            "digits, '.', '_' or '-'",
        )
    _check_role(role)
    passwords.check_new(password, name)
    row = _row(name, role, hasher.hashed(password))
    with db.write() as tx:
        if tx.session.scalars(select(models.User).where(models.User.name == name)).first():
            raise errors.AlreadyExists(kind="user", key=name)
        row.created_at = tx.now
        tx.session.add(row)
        audit.note(tx, by.name, "user_created", name, by.peer, role=role)
        return _view(row, tx.now)


def change_role(
    db: database.Database, by: identity.Identity, ident: str, role: str
) -> dict[str, Any]:
    """The user's sessions end. Raises errors.InUse for the last administrator."""
    _check_role(role)
    with db.write() as tx:
        row = _find(tx, ident)
        if row.role == roles.ADMINISTRATOR != role:
            _keep_one(tx, row)
        audit.note(tx, by.name, "user_role_changed", row.name, by.peer, old=row.role, new=role)
        row.role = role
        _end_sessions(tx, row.id)
        return _view(row, tx.now)


def reset_password(
    db: database.Database,
    hasher: passwords.Hasher,
    by: identity.Identity,
    ident: str,
    password: str,
) -> dict[str, Any]:
    """By an administrator, for somebody else; sessions end and a lockout is lifted."""
    with db.read() as tx:
        name = _find(tx, ident).name
    passwords.check_new(password, name)
    new_hash = hasher.hashed(password)
    with db.write() as tx:
        row = _find(tx, ident)
        row.password_hash, row.failed_logins, row.locked_until = new_hash, 0, 0.0
        _end_sessions(tx, row.id)
        audit.note(tx, by.name, "user_password_reset", row.name, by.peer)
        return _view(row, tx.now)


def change_password(
    db: database.Database, hasher: passwords.Hasher, by: identity.Identity, old: str, new: str
) -> None:
    """Of the one who asks; other sessions end. Raises errors.Invalid if ``old`` is wrong."""
    with db.read() as tx:
        stored = _find(tx, by.user_id).password_hash
    if not hasher.verify(stored, old):
        raise errors.Invalid(what="old password", why="this is not the present one")
    passwords.check_new(new, by.name)
    new_hash = hasher.hashed(new)
    with db.write() as tx:
        row = _find(tx, by.user_id)
        row.password_hash = new_hash
        _end_sessions(tx, row.id, but=by.session_hash)
        audit.note(tx, by.name, "password_changed", row.name, by.peer)


def delete(db: database.Database, by: identity.Identity, ident: str) -> None:
    """With sessions and tokens. Raises errors.InUse for the last administrator or oneself."""
    with db.write() as tx:
        row = _find(tx, ident)
        if row.id == by.user_id:
            raise errors.InUse(kind="user", key=row.name, why="you are logged in as this user")
        if row.role == roles.ADMINISTRATOR:
            _keep_one(tx, row)
        _end_sessions(tx, row.id)
        tx.session.execute(
            sqlalchemy.delete(models.ApiToken).where(models.ApiToken.user_id == row.id)
        )
        audit.note(tx, by.name, "user_deleted", row.name, by.peer)
        tx.session.delete(row)


def names(db: database.Database) -> dict[str, str]:
    """Every user's name by id."""
    with db.read() as tx:
        rows = tx.session.execute(select(models.User.id, models.User.name))
        return dict(rows.all())


def _row(name: str, role: str, password_hash: str) -> models.User:
    return models.User(
        id=secrets.token_hex(8),
        name=name,
        role=role,
        password_hash=password_hash,
        failed_logins=0,
        locked_until=0.0,
    )


def _find(tx: database.Tx, ident: str) -> models.User:
    row = tx.session.get(models.User, ident)
    if row is None:
        raise errors.NotFound(kind="user", key=ident[:40])
    return row


def _check_role(role: str) -> None:
    if role not in roles.ORDER:
        raise errors.Invalid(what="role", why=f"it is one of {', '.join(roles.ORDER)}")


def _keep_one(tx: database.Tx, row: models.User) -> None:
    query = select(models.User.id).where(models.User.role == roles.ADMINISTRATOR)
    if len(list(tx.session.scalars(query))) == 1:
        why = "this is the last administrator; make another one first"
        raise errors.InUse(kind="user", key=row.name, why=why)


def _end_sessions(tx: database.Tx, user_id: str, but: str = "") -> None:
    tx.session.execute(
        sqlalchemy.delete(models.Session).where(
            models.Session.user_id == user_id, models.Session.hash != but
        )
    )


def _view(row: models.User, now: float) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "role": row.role,
        "locked": row.locked_until > now,
        "created_at": row.created_at,
        "last_login_at": row.last_login_at,
    }

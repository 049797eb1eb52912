"""Tokens of people and programs. Only SHA-256 hashes are kept: tokens are random, 256 bits.

At every start the MDM makes sure that the files admin.token and join.token hold valid tokens; to
change one, remove its file and start the MDM again.
"""

import hashlib
import secrets
from pathlib import Path
from typing import Any

from sqlalchemy import select

from appliance.common import durable, errors
from appliance.mdm import bodies, shapes
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import context, pages, refs

ADMINISTRATOR = "administrator"
JOIN = "join"

#: Roles of people and programs, in rising order: each may do what those before it may. Monitor
#: looks; configure also changes volumes and mappings; administrator may do all.
CONFIGURE = "configure"
PEOPLE = ("monitor", CONFIGURE, ADMINISTRATOR)

#: File in the data folder → (name, role) of the token in it.
FILES = {"admin.token": ("admin", ADMINISTRATOR), "join.token": ("join", JOIN)}


def hashed(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def ensure_files(uow: unit_of_work.UnitOfWork, data_dir: Path) -> None:
    """Make the first tokens, or new ones for files that are gone. Files are 0600, never logged."""
    for file, (name, role) in FILES.items():
        path = data_dir / file
        with uow.write("mdm") as tx:
            row = tx.session.scalars(select(models.Token).where(models.Token.name == name)).first()
            if row is not None and _holds(path, row):
                continue
            if row is not None:
                tx.session.delete(row)
                tx.session.flush()
            token = secrets.token_urlsafe(32)
            durable.replace_file(path, token.encode() + b"\n")
            _add(tx, name, role, token)


def adopt_files(tx: unit_of_work.Tx, data_dir: Path) -> None:
    """Let the tokens in the files that are there be valid in a database that knows none."""
    for file, (name, role) in FILES.items():
        path = data_dir / file
        if path.exists():
            _add(tx, name, role, path.read_text(encoding="utf-8").strip())


def create(ctx: context.Context, actor: str, new: bodies.NewToken) -> shapes.NewToken:
    """The only answer that holds the token itself. Raises errors.AlreadyExists."""
    with ctx.uow.write(actor) as tx:
        refs.check_free(tx, models.Token, new.name)
        token = secrets.token_urlsafe(32)
        row = _add(tx, new.name, new.role, token)
        tx.after_commit(ctx.tokens_changed)
        return {**_view(row), "token": token}


def get(ctx: context.Context, ref: str) -> shapes.Token:
    with ctx.uow.read() as tx:
        return _view(refs.find(tx, models.Token, ref))


def list_page(ctx: context.Context, page: bodies.Page) -> dict[str, Any]:
    with ctx.uow.read() as tx:
        query = pages.limited(select(models.Token), models.Token.name, models.Token.id, page)
        return pages.cut([_view(row) for row in tx.session.scalars(query)], "name", page)


def delete(ctx: context.Context, actor: str, ref: str) -> None:
    """The token ends at once. Raises errors.InUse for the last administrator's token."""
    with ctx.uow.write(actor) as tx:
        row = refs.find(tx, models.Token, ref)
        same_role = select(models.Token.id).where(models.Token.role == row.role)
        if row.role == ADMINISTRATOR and len(list(tx.session.scalars(same_role))) == 1:
            raise errors.InUse(
                kind="token",
                key=row.name,
                why="it is the last administrator's; make another one first",
            )
        tx.event("token_deleted", "token", row.id, row.name, role=row.role)
        tx.session.delete(row)
        tx.after_commit(ctx.tokens_changed)


def _add(tx: unit_of_work.Tx, name: str, role: str, token: str) -> models.Token:
    row = models.Token(
        id=secrets.token_hex(8), name=name, role=role, hash=hashed(token), created_at=tx.now
    )
    tx.session.add(row)
    tx.event("token_created", "token", row.id, name, role=role)
    return row


def _holds(path: Path, row: models.Token) -> bool:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return False
    return secrets.compare_digest(hashed(token), row.hash)


def check_file_modes(data_dir: Path) -> None:
    """Raise errors.BadConfig if others can read a token's file."""
    for file in FILES:
        path = data_dir / file
        if path.exists() and path.stat().st_mode & 0o077:
            raise errors.BadConfig(
                file=str(path), key="mode", why="others can read this token; chmod 600 it"
            )


def _view(row: models.Token) -> shapes.Token:
    return {"id": row.id, "name": row.name, "role": row.role, "created_at": row.created_at}

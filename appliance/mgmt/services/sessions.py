"""Logging in and out, and who a cookie or a token is.

A login always makes a new session under a new random name: what a browser sent before is never
taken over. After ``FREE_TRIES`` wrong passwords each further one locks the user for twice as
long, and every address is slowed down by itself, whatever the names it tries.
"""

import collections
import hashlib
import hmac
import logging
import secrets
import threading
from typing import Any

import sqlalchemy
from sqlalchemy import select

from appliance.common import clock as clocks
from appliance.common import errors
from appliance.mgmt import config
from appliance.mgmt.db import database, models
from appliance.mgmt.services import audit, identity, passwords, roles

logger = logging.getLogger(__name__)

FREE_TRIES = 5
_LOCK_FIRST_S = 2.0
_LOCK_LIMIT_S = 900.0

#: Wrong passwords from one address in so many seconds; more are not even looked at.
_PER_PEER = 20
_PER_PEER_S = 60.0
_PEERS = 10_000

#: How stale ``seen_at`` may be: not every request writes to the database.
_SEEN_EVERY_S = 60.0


class Sessions:
    """Thread-safe."""

    def __init__(
        self,
        db: database.Database,
        hasher: passwords.Hasher,
        settings: config.Config,
        clock: clocks.Clock,
    ) -> None:
        self._db = db
        self._hasher = hasher
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: dict[str, collections.deque[float]] = {}

    def login(self, name: str, password: str, peer: str) -> str:
        """The new session's cookie value.

        Raises errors.TooMany, or errors.Unauthenticated: the same for a wrong name and a wrong
        password.
        """
        self._check_peer(peer)
        with self._db.read() as tx:
            found = tx.session.scalars(select(models.User).where(models.User.name == name)).first()
            wait_s = found.locked_until - tx.now if found else 0.0
        if wait_s > 0:
            raise errors.TooMany(what="failed logins", wait_s=int(wait_s) + 1)
        good = self._hasher.verify(found.password_hash if found else None, password)
        if not good or not found:
            self._failed(name, peer)
            raise errors.Unauthenticated(why="name or password is wrong")
        return self._begin(found.id, password, peer)

    def logout(self, who: identity.Identity) -> None:
        with self._db.write() as tx:
            tx.session.execute(
                sqlalchemy.delete(models.Session).where(models.Session.hash == who.session_hash)
            )
            audit.note(tx, who.name, "logout", who.name, who.peer)

    def of_cookie(self, value: str, peer: str) -> identity.Identity | None:
        """Whose session it is; None if nobody's, or if it is over."""
        hashed = _hashed(value)
        with self._db.read() as tx:
            session = tx.session.get(models.Session, hashed)
            if session is None or not hmac.compare_digest(session.hash, hashed):
                return None
            if (
                tx.now - session.seen_at > self._settings.session_idle_s
                or tx.now - session.created_at > self._settings.session_limit_s
            ):
                return None
            user = tx.session.get_one(models.User, session.user_id)
            stale = tx.now - session.seen_at > _SEEN_EVERY_S
            found = identity.Identity(user.id, user.name, user.role, peer, session.csrf, hashed)
        if stale:
            self._seen(hashed)
        return found

    def of_token(self, token: str, peer: str) -> identity.Identity | None:
        """Whose API token it is; None if nobody's, or if it is over."""
        hashed = _hashed(token)
        with self._db.read() as tx:
            query = select(models.ApiToken).where(models.ApiToken.hash == hashed)
            row = tx.session.scalars(query).first()
            if row is None or not hmac.compare_digest(row.hash, hashed):
                return None
            if row.expires_at is not None and row.expires_at <= tx.now:
                return None
            user = tx.session.get_one(models.User, row.user_id)
            role = roles.lesser(row.role, user.role)
            return identity.Identity(user.id, f"{user.name}/{row.name}", role, peer)

    def create_token(
        self, by: identity.Identity, name: str, role: str, days: int | None
    ) -> dict[str, Any]:
        """The only answer that holds the token. Raises errors.Forbidden, Invalid, AlreadyExists."""
        if not 1 <= len(name) <= 60 or not name.isprintable():
            raise errors.Invalid(what="name", why="give 1 to 60 printable characters")
        if role not in roles.ORDER:
            raise errors.Invalid(what="role", why=f"it is one of {', '.join(roles.ORDER)}")
        roles.check(by.role, role, by.name)
        token = secrets.token_urlsafe(32)
        with self._db.write() as tx:
            query = select(models.ApiToken).where(models.ApiToken.name == name)
            if tx.session.scalars(query).first() is not None:
                raise errors.AlreadyExists(kind="token", key=name)
            row = models.ApiToken(
                id=secrets.token_hex(8),
                name=name,
                user_id=by.user_id,
                role=role,
                hash=_hashed(token),
                created_at=tx.now,
                expires_at=None if days is None else tx.now + days * 86400,
            )
            tx.session.add(row)
            audit.note(tx, by.name, "token_created", name, by.peer, role=role)
            return {**_token_view(row, by.name), "token": token}

    def tokens(self, who: identity.Identity) -> list[dict[str, Any]]:
        """An administrator sees all, everyone else the own ones."""
        query = (
            select(models.ApiToken, models.User.name)
            .join(models.User, models.User.id == models.ApiToken.user_id)
            .order_by(models.ApiToken.name)
        )
        if who.role != roles.ADMINISTRATOR:
            query = query.where(models.ApiToken.user_id == who.user_id)
        with self._db.read() as tx:
            return [_token_view(row, name) for row, name in tx.session.execute(query)]

    def delete_token(self, by: identity.Identity, ident: str) -> None:
        with self._db.write() as tx:
            row = tx.session.get(models.ApiToken, ident)
            own = row is not None and row.user_id == by.user_id
            if row is None or not (own or by.role == roles.ADMINISTRATOR):
                raise errors.NotFound(kind="token", key=ident[:40])
            audit.note(tx, by.name, "token_deleted", row.name, by.peer)
            tx.session.delete(row)

    def prune(self) -> None:
        """Delete sessions that are over."""
        with self._db.write() as tx:
            idle, limit = self._settings.session_idle_s, self._settings.session_limit_s
            tx.session.execute(
                sqlalchemy.delete(models.Session).where(
                    (models.Session.seen_at < tx.now - idle)
                    | (models.Session.created_at < tx.now - limit)
                )
            )

    def _begin(self, user_id: str, password: str, peer: str) -> str:
        value = secrets.token_urlsafe(32)
        with self._db.write() as tx:
            user = tx.session.get_one(models.User, user_id)
            if self._hasher.outdated(user.password_hash):
                user.password_hash = self._hasher.hashed(password)
            user.failed_logins, user.locked_until, user.last_login_at = 0, 0.0, tx.now
            tx.session.add(
                models.Session(
                    hash=_hashed(value),
                    user_id=user_id,
                    csrf=secrets.token_urlsafe(32),
                    peer=peer,
                    created_at=tx.now,
                    seen_at=tx.now,
                )
            )
            audit.note(tx, user.name, "login", user.name, peer)
            logger.info("login user=%s peer=%s", user.name, peer)
        return value

    def _failed(self, name: str, peer: str) -> None:
        with self._lock:
            if len(self._failures) >= _PEERS:
                self._failures.clear()
            tries = self._failures.setdefault(peer, collections.deque(maxlen=_PER_PEER))
            tries.append(self._clock.monotonic())
        logger.warning("login_failed peer=%s", peer)
        with self._db.write() as tx:
            user = tx.session.scalars(select(models.User).where(models.User.name == name)).first()
            if user is not None:
                user.failed_logins += 1
                over = user.failed_logins - FREE_TRIES
                if over >= 0:
                    lock_s = min(_LOCK_LIMIT_S, _LOCK_FIRST_S * 2.0 ** min(over, 16))
                    user.locked_until = tx.now + lock_s
            known = user.name if user is not None else "(unknown user)"
            audit.note(tx, known, "login", known, peer, outcome="refused")

    def _check_peer(self, peer: str) -> None:
        with self._lock:
            tries = self._failures.get(peer)
            if tries is None or len(tries) < _PER_PEER:
                return
            wait_s = tries[0] + _PER_PEER_S - self._clock.monotonic()
        if wait_s > 0:
            raise errors.TooMany(what="failed logins", wait_s=int(wait_s) + 1)

    def _seen(self, hashed: str) -> None:
        try:
            with self._db.write() as tx:
                tx.session.execute(
                    sqlalchemy.update(models.Session)
                    .where(models.Session.hash == hashed)
                    .values(seen_at=tx.now)
                )
        except errors.Unavailable:
            return  # reading goes on while the database cannot be written


def _hashed(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "surrogateescape")).hexdigest()


def _token_view(row: models.ApiToken, owner: str) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "role": row.role,
        "owner": owner,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
    }

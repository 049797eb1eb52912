"""Who a request is from: its bearer token → an identity. Called by the tokens' middleware.

All hashes are held in memory, so that a request costs no query and a database in trouble shuts
nobody out; they are read again after each change of tokens or agents.
"""

import hmac
import re
import threading
from dataclasses import dataclass

from sqlalchemy import select

from appliance.common import errors
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import tokens

_PERSON = re.compile(r"[A-Za-z0-9._/-]{1,64}")

#: Roles of agents; those of people are in ``tokens``.
SDS = "sds"
SDC = "sdc"


@dataclass(frozen=True, slots=True)
class Identity:
    """``role``: monitor, configure, administrator, join, sds or sdc."""

    role: str
    id: str
    name: str

    @property
    def actor(self) -> str:
        """The name that events carry."""
        return self.name if self.role in tokens.PEOPLE else f"{self.role}:{self.name}"

    def acting_for(self, name: str, role: str) -> "Identity":
        """The same, on behalf of a person: never with more rights than either has.

        Raises errors.Forbidden unless this is one of people's tokens, Invalid for a bad name.
        """
        if self.role not in tokens.PEOPLE:
            raise errors.Forbidden(why=f"one of role '{self.role}' acts for nobody")
        if role not in tokens.PEOPLE or not _PERSON.fullmatch(name):
            raise errors.Invalid(what="X-Basalt-User", why="give a name, and X-Basalt-Role a role")
        lesser = min(self.role, role, key=tokens.PEOPLE.index)
        return Identity(lesser, self.id, f"{name} ({self.name})")


class Authenticator:
    """Thread-safe; never blocks in ``identify``."""

    def __init__(self, uow: unit_of_work.UnitOfWork) -> None:
        self._uow = uow
        self._lock = threading.Lock()
        self._known: dict[str, Identity] = {}

    def reload(self) -> None:
        """Read all hashes again."""
        with self._lock, self._uow.read() as tx:
            known = {}
            for token in tx.session.scalars(select(models.Token)):
                known[token.hash] = Identity(token.role, token.id, token.name)
            for sds in tx.session.scalars(select(models.Sds)):
                known[sds.secret_hash] = Identity(SDS, sds.id, sds.name)
            for sdc in tx.session.scalars(select(models.Sdc)):
                known[sdc.secret_hash] = Identity(SDC, sdc.id, sdc.name)
            self._known = known

    def identify(self, authorization: str | None) -> Identity:
        """Raises errors.Unauthenticated."""
        if not authorization:
            raise errors.Unauthenticated(why="there is none")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise errors.Unauthenticated(why="the Authorization header is not 'Bearer TOKEN'")
        found = self.secret(token.strip())
        if found is None:
            raise errors.Unauthenticated(why="the one given is unknown or was withdrawn")
        return found

    def secret(self, token: str) -> Identity | None:
        """Whose token or secret it is, None if nobody's.

        What is looked up is a hash of 256 random bits: the time of the look-up tells nothing
        that would help to guess one; the comparison itself is in constant time.
        """
        digest = tokens.hashed(token)
        known = self._known
        found = known.get(digest)
        stored = digest if found is not None else "0" * len(digest)
        return found if hmac.compare_digest(digest, stored) else None

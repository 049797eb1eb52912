"""Passwords: argon2id hashes, and what a password must be.

Hashing costs some 50 ms and 64 MiB on purpose; at most ``_AT_ONCE`` run side by side, so that a
storm of logins takes neither the memory nor the cores of the host.
"""

import threading

import argon2

from appliance.common import errors
from appliance.mgmt import config

SHORTEST = 10
LONGEST = 200

_AT_ONCE = 2
_WAIT_S = 5.0


def check_new(password: str, name: str) -> None:
    """Raises errors.Invalid unless ``password`` may be one of user ``name``."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise errors.Invalid(what="password", why=f"it needs {SHORTEST} to {LONGEST} characters")
    if len(set(password)) < 4 or password.lower() == name.lower():
        raise errors.Invalid(what="password", why="this one is too easy to guess")


class Hasher:
    """Thread-safe. Raises errors.BadConfig if argon2 does not take the configured cost."""

    def __init__(self, settings: config.Config) -> None:
        self._places = threading.BoundedSemaphore(_AT_ONCE)
        self._argon2 = argon2.PasswordHasher(settings.password_rounds, settings.password_memory_kib)
        try:
            # Verified when there is no such user, so that the answer takes as long.
            self._nobody = self._argon2.hash("nobody has this password")
        except (argon2.exceptions.HashingError, OverflowError) as exc:
            raise errors.BadConfig(
                file="configuration", key="password_rounds, password_memory_kib", why=str(exc)
            ) from exc

    def hashed(self, password: str) -> str:
        """Raises errors.Unavailable while too many others are at it."""
        self._enter()
        try:
            return self._argon2.hash(password)
        finally:
            self._places.release()

    def verify(self, stored: str | None, password: str) -> bool:
        """Whether ``password`` is the one of ``stored``; takes as long if there is none."""
        self._enter()
        try:
            good = self._argon2.verify(stored or self._nobody, password[:LONGEST])
            return good and stored is not None
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False
        finally:
            self._places.release()

    def outdated(self, stored: str) -> bool:
        """Whether it was made with another cost than today's."""
        return self._argon2.check_needs_rehash(stored)

    def _enter(self) -> None:
        if not self._places.acquire(timeout=_WAIT_S):
            raise errors.Unavailable(why="too many logins at once; try again in a moment")

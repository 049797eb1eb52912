"""Passwords: argon2id hashes, and what a password must be.

Hashing costs some 50 ms and 64 MiB on purpose; at most ``_AT_ONCE`` run side by side, so that a
storm of logins takes neither the memory nor the cores of the host.
"""

import threading

import argon2

from appliance.common import errors

SHORTEST = 10
LONGEST = 200

_AT_ONCE = 2
_WAIT_S = 5.0

_hasher = argon2.PasswordHasher()
_places = threading.BoundedSemaphore(_AT_ONCE)

#: Verified when there is no such user, so that the answer takes as long.
_NOBODY = _hasher.hash("nobody has this password")


def check_new(password: str, name: str) -> None:
    """Raises errors.Invalid unless ``password`` may be one of user ``name``."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise errors.Invalid(what="password", why=f"it needs {SHORTEST} to {LONGEST} characters")
    if len(set(password)) < 4 or password.lower() == name.lower():
        raise errors.Invalid(what="password", why="this one is too easy to guess")


def hashed(password: str) -> str:
    with _Place():
        return _hasher.hash(password)


def verify(stored: str | None, password: str) -> bool:
    """Whether ``password`` is the one of ``stored``; takes as long if there is none."""
    with _Place():
        try:
            return _hasher.verify(stored or _NOBODY, password[:LONGEST]) and stored is not None
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False


def outdated(stored: str) -> bool:
    """Whether it was made with weaker parameters than today's."""
    return _hasher.check_needs_rehash(stored)


class _Place:
    def __enter__(self) -> None:
        if not _places.acquire(timeout=_WAIT_S):
            raise errors.Unavailable(why="too many logins at once; try again in a moment")

    def __exit__(self, *_exc: object) -> None:
        _places.release()

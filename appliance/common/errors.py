"""The one tree of errors. A class per thing a caller can *do* differently.

Facts are attributes, the message comes from a template, ``code`` is stable and travels in
JSON. ``protocol.status`` is the one table from these to HTTP status, exit code and errno.
"""

from typing import Any, ClassVar, Self


class BasaltError(Exception):
    """Root. ``facts`` are the keyword arguments; they fill ``template``."""

    code: ClassVar[str] = "internal"
    template: ClassVar[str] = "{detail}"

    def __init__(self, **facts: Any) -> None:
        self.facts = facts
        self.request_id = ""  # of the answer that told of it, when another process did
        super().__init__(self.template.format(**facts))

    @classmethod
    def received(cls, description: str, request_id: str = "") -> Self:
        """An error another process told of, in that process's words."""
        error = cls.__new__(cls)
        Exception.__init__(error, description)
        error.facts = {}
        error.request_id = request_id
        return error


class RequestError(BasaltError):
    """The request is refused; whoever answered it is well and goes on."""


class Invalid(RequestError):
    """The request is malformed: the caller must change it."""

    code = "invalid"
    template = "{what}: {why}"


class TooLarge(RequestError):
    code = "too_large"
    template = "the request body is {size} bytes; at most {limit} are taken"


class Unauthenticated(RequestError):
    code = "unauthenticated"
    template = (
        "no valid token: {why}; give one as 'Authorization: Bearer TOKEN' (CLI: BASALT_TOKEN_FILE)"
    )


class Forbidden(RequestError):
    code = "forbidden"
    template = "this token may not do that: {why}"


class TooMany(RequestError):
    """Asked too often; nothing was looked at."""

    code = "too_many"
    template = "too many {what}; wait {wait_s} s and try again"


class NotFound(RequestError):
    code = "not_found"
    template = "there is no {kind} '{key}'"


class Conflict(RequestError):
    """The request is well-formed, but the present state does not allow it."""

    code = "conflict"
    template = "{why}"


class AlreadyExists(Conflict):
    code = "already_exists"
    template = "a {kind} named '{key}' exists already; choose another name"


class InUse(Conflict):
    code = "in_use"
    template = "{kind} '{key}' is in use: {why}"


class NoCapacity(Conflict):
    code = "no_capacity"
    template = "{why}"


class StaleOrder(Conflict):
    """An order or report of an older term, generation or map (R1, R10)."""

    code = "stale"
    template = "{what} {got} is older than {have}; it is ignored"


class Unavailable(BasaltError):
    """The part asked cannot work now; the same request may succeed later."""

    code = "unavailable"
    template = "{why}"


class Unreachable(BasaltError):
    """No answer, so nothing is known of what became of the request."""

    code = "unreachable"
    template = "{peer} did not answer: {why}"


class BadConfig(BasaltError):
    code = "bad_config"
    template = "{file}: {key}: {why}"


class Damaged(BasaltError):
    """Stored data is not what was written. Never guessed at, never overwritten."""

    code = "damaged"
    template = "{path} is damaged: {why}"


class DeviceFailed(BasaltError):
    """A flush or write to a device failed with EIO: its page cache is no longer the truth (R5)."""

    code = "device_failed"
    template = "device {device} failed: {why}"

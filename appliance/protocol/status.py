"""The one table of what an error means at each border: HTTP status, exit code, errno."""

import errno
from dataclasses import dataclass

from appliance.common import errors


@dataclass(frozen=True, slots=True)
class Meaning:
    http: int
    exit: int
    errno: int


#: Exit codes of every command: 0 done, 1 a bug, 2 wrong usage or input, 3 no such thing,
#: 4 refused in the present state, 5 no answer or not now, 6 not allowed, 7 damaged data.
_TABLE: dict[type[errors.BasaltError], Meaning] = {
    errors.Invalid: Meaning(400, 2, errno.EINVAL),
    errors.TooLarge: Meaning(413, 2, errno.E2BIG),
    errors.Unauthenticated: Meaning(401, 6, errno.EACCES),
    errors.Forbidden: Meaning(403, 6, errno.EPERM),
    errors.TooMany: Meaning(429, 4, errno.EAGAIN),
    errors.NotFound: Meaning(404, 3, errno.ENOENT),
    errors.NoCapacity: Meaning(409, 4, errno.ENOSPC),
    errors.Conflict: Meaning(409, 4, errno.EBUSY),
    errors.Unavailable: Meaning(503, 5, errno.EAGAIN),
    errors.Unreachable: Meaning(503, 5, errno.ENOTCONN),
    errors.BadConfig: Meaning(500, 2, errno.EINVAL),
    errors.Damaged: Meaning(500, 7, errno.EIO),
    errors.DeviceFailed: Meaning(500, 5, errno.EIO),
    errors.BasaltError: Meaning(500, 1, errno.EIO),
}


def meaning(error: BaseException | type[BaseException]) -> Meaning:
    """What ``error`` (or its class) means; anything not in the tree is a bug: 500, 1, EIO."""
    cls = error if isinstance(error, type) else type(error)
    for ancestor in cls.__mro__:
        found = _TABLE.get(ancestor)
        if found is not None:
            return found
    return _TABLE[errors.BasaltError]


def by_code() -> dict[str, type[errors.BasaltError]]:
    """Every error class by its stable ``code``, for a client that reads an error back."""
    found: dict[str, type[errors.BasaltError]] = {}
    pending: list[type[errors.BasaltError]] = [errors.BasaltError]
    while pending:
        cls = pending.pop()
        found.setdefault(cls.code, cls)
        pending.extend(cls.__subclasses__())
    return found

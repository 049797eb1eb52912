"""Logging for every role: ``event key=value`` to stderr, with the request id of the work in hand.

Under systemd to the journal itself (``journal``), with fields to search by, and it stamps the
time; elsewhere (the single-host cluster's files) the line does.
"""

import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from appliance.common import journal

_request_id: ContextVar[str] = ContextVar("basalt_request_id", default="-")


def new_request_id() -> str:
    return secrets.token_hex(8)


def request_id() -> str:
    """Id of the request this thread works on, or ``-``."""
    return _request_id.get()


@contextmanager
def request(ident: str) -> Iterator[str]:
    """Every line logged inside carries ``request_id=ident``."""
    token = _request_id.set(ident)
    try:
        yield ident
    finally:
        _request_id.reset(token)


class _RequestIdFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = _request_id.get()
        return True


def setup(role: str, level: str = "INFO") -> None:
    """Send every record of this process to stderr, or the journal it leads to. Called once, by a
    role's ``__main__``."""
    handler: logging.Handler = (
        journal.Handler(role) if journal.is_ours() else logging.StreamHandler()
    )
    handler.addFilter(_RequestIdFilter())
    stamp = "" if os.environ.get("JOURNAL_STREAM") else "%(asctime)s "
    handler.setFormatter(
        logging.Formatter(
            stamp + "%(levelname)s " + role + " %(name)s %(message)s request_id=%(request_id)s"
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())

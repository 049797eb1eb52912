"""Transactions of the MDM. Every service works inside ``with uow.write(actor) as tx`` or
``with uow.read() as tx``; nothing else opens a session.

Writers take turns (one process-wide turnstile, then SQLite's own lock); readers see one moment
each and never wait. The end of a ``write`` block is its commit: durable when the block is left.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy
from sqlalchemy import exc, orm

from appliance.common import clock, errors, log
from appliance.mdm.db import engine as engines
from appliance.mdm.db import models, turnstile

logger = logging.getLogger(__name__)

#: Longest wait for other writers of this process, in seconds.
WRITERS_WAIT_S = 15.0

#: (kind of agent, its id): who should poll now.
Poke = tuple[str, str]


class Tx:
    """One transaction. ``now`` is wall time in Unix seconds, ``actor`` who caused it."""

    def __init__(self, session: orm.Session, now: float, actor: str) -> None:
        self.session = session
        self.now = now
        self.actor = actor
        self.events: list[dict[str, Any]] = []
        self.callbacks: list[Callable[[], None]] = []
        self.pokes: set[Poke] = set()
        #: of the orders that this changes, once it changes any
        self.revision: int | None = None

    def event(self, kind: str, subject_kind: str, ident: str, name: str, **detail: Any) -> None:
        """Record a change; it is kept exactly if the change is."""
        self.events.append(
            {
                "at": self.now,
                "who": self.actor,
                "request_id": log.request_id(),
                "kind": kind,
                "subject_kind": subject_kind,
                "subject_id": ident,
                "subject_name": name,
                "detail": detail,
            }
        )

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call it once this is durable, outside the write lock. It must not block."""
        self.callbacks.append(callback)

    def poke(self, kind: str, ident: str) -> None:
        """Ask agent ``ident`` (``kind`` sds or sdc) to poll, after the commit."""
        self.pokes.add((kind, ident))


class UnitOfWork:
    """Gives out transactions. May be used by any thread; write blocks do not nest."""

    def __init__(
        self,
        engine: sqlalchemy.Engine,
        clock: clock.Clock,
        poke: Callable[[frozenset[Poke]], None],
    ) -> None:
        self._sessions = orm.sessionmaker(engine, expire_on_commit=False)
        writer = engine.execution_options(**{engines.WRITES: True})
        self._write_sessions = orm.sessionmaker(writer, expire_on_commit=False)
        self._clock = clock
        self._poke = poke
        self._turnstile = turnstile.Turnstile()
        self._owner = 0
        self._locked_out_at = float("-inf")
        self._trouble = ""
        self.where = str(engine.url.database or engine.url)

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """A snapshot. What is changed through it is thrown away."""
        with self._sessions() as session:
            try:
                yield Tx(session, self._clock.wall(), "")
            except exc.DBAPIError as error:
                self._refuse(error)
                raise

    @contextmanager
    def write(self, actor: str, urgent: bool = False) -> Iterator[Tx]:
        """A change, committed at the end of the block, undone if it raises.

        ``urgent``: I/O or an agent waits for it, so it goes before others that wait.

        Raises errors.Unavailable, and changes nothing, while the database cannot be written.
        """
        self._take_turn(urgent)
        try:
            with self._write_sessions() as session:
                tx = Tx(session, self._clock.wall(), actor)
                session.connection()  # begins: who gets into the block holds the write lock
                yield tx
                _record(tx)
                session.commit()
            self._trouble = ""
        except exc.DBAPIError as error:
            self._locked_out_at = self._clock.monotonic()
            self._trouble = f"the last change was not kept: {error.orig}"
            self._refuse(error)
            raise
        finally:
            self._owner = 0
            self._turnstile.release()
        self._after(tx)

    def trouble(self) -> str:
        """Why the newest attempt to change the database failed; empty if it did not."""
        return self._trouble

    def _take_turn(self, urgent: bool) -> None:
        if self._owner == threading.get_ident():
            raise RuntimeError("a write block inside another one would wait for itself")
        began = self._clock.monotonic()
        if not self._turnstile.acquire(WRITERS_WAIT_S, urgent):
            raise errors.Unavailable(why="too many changes are waiting; try again in a moment")
        # Whoever waited while another writer found the database shut does not try as long again:
        # the server's threads are needed for heartbeats.
        if self._locked_out_at > began:
            self._turnstile.release()
            raise errors.Unavailable(
                why=f"the MDM cannot change its database {self.where} now; "
                "see 'basalt status' and the MDM's log"
            )
        self._owner = threading.get_ident()

    def _refuse(self, error: exc.DBAPIError) -> None:
        """Raise what the database's failure means to a caller; return if it is a bug of ours."""
        meaning = engines.refused(error, self.where)
        if meaning is not None:
            logger.warning("database_refused code=%s why=%s", meaning.code, error.orig)
            raise meaning from error

    def _after(self, tx: Tx) -> None:
        if tx.pokes:
            self._poke(frozenset(tx.pokes))
        for callback in tx.callbacks:
            try:
                callback()
            except Exception:  # the change is durable; its caller must hear so
                logger.exception("after_commit_failed")


def _record(tx: Tx) -> None:
    """The events of the transaction, all at once and as plain rows: every change has some."""
    if tx.events:
        tx.session.flush()
        tx.session.connection().execute(sqlalchemy.insert(models.Event), tx.events)

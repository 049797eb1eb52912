"""The alerts' turn of the loop: measure, decide, keep. Called after each poll of the MDM."""

import logging
from collections.abc import Callable

from appliance.common import clock as clocks
from appliance.common import errors
from appliance.mgmt.alerts import catalog, engine, measures, own_measures, progress, rules, store
from appliance.mgmt.db import database
from appliance.mgmt.services import view

logger = logging.getLogger(__name__)

_BY_HAND = frozenset(entry.id for entry in catalog.BY_ID.values() if entry.by_hand)
_STORAGE = frozenset(entry.id for entry in catalog.BY_ID.values() if entry.storage) - _BY_HAND

Failures = Callable[[], dict[str, tuple[int, str]]]


class Watch:
    """``run_once`` is called by one loop; ``holds`` and ``forget`` by any thread.

    ``certificates`` are files; ``undelivered`` and ``unhealed`` tell of what was given up.
    """

    def __init__(
        self,
        db: database.Database,
        seen: view.View,
        clock: clocks.Clock,
        certificates: tuple[str, ...],
        undelivered: Failures,
        unhealed: Failures,
    ) -> None:
        self._db = db
        self._view = seen
        self._clock = clock
        self._certificates = certificates
        self._undelivered = undelivered
        self._unhealed = unhealed
        self._moves = progress.Progress()
        self._engine: engine.Engine | None = None
        self._heard_at = clock.monotonic()
        self._forgotten: list[engine.Key] = []

    def run_once(self) -> None:
        """Raises nothing for a database that cannot be written: what it missed is found again."""
        try:
            self._step()
        except errors.Unavailable as exc:
            logger.warning("alerts_not_kept why=%s", exc)
            self._engine = None  # what is open is read anew

    def holds(self) -> frozenset[engine.Key]:
        """Alerts whose condition was true when last looked at; those resolved by hand are not."""
        found = self._engine
        keys = found.open if found is not None else frozenset()
        return frozenset(key for key in keys if key[0] not in _BY_HAND)

    def forget(self, key: engine.Key) -> None:
        """A person resolved it."""
        self._forgotten.append(key)

    def _step(self) -> None:
        if self._engine is None:
            self._engine = engine.Engine(store.open_keys(self._db))
        while self._forgotten:
            self._engine.forget(self._forgotten.pop())
        now, known = self._clock.monotonic(), rules.load(self._db)
        silent_s = self._silent_s(now)
        readings = [
            *own_measures.mdm(silent_s, self._view.problem),
            *own_measures.certificates(self._certificates, self._clock.wall()),
            *own_measures.undelivered(self._undelivered()),
            *own_measures.unhealed(self._unhealed()),
        ]
        blind: frozenset[str] = frozenset()
        current = self._view.current
        if silent_s or current is None:
            blind = _STORAGE
        else:
            self._moves.seen(now, current.jobs, current.statistics)
            readings += measures.readings(current, self._moves, now)
            readings += own_measures.unhealed(measures.given_up(current))
        outcome = self._engine.step(now, known, readings, blind)
        store.keep(self._db, known, outcome, _BY_HAND)

    def _silent_s(self, now: float) -> float:
        if not self._view.problem:
            self._heard_at = now
        return now - self._heard_at

"""How a role and what it depends on are: checked every second, counted, and healed where that can
be done. What a check finds is healthy, degraded, unhealthy or (the check itself failed) unknown.

A part that is unhealthy and has a healing is healed by it, each try counted, with pauses that
grow; at its limit it is given up and an alert says so. It begins anew once the part was well, and
one more try is made whenever what the healing works with has changed.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.common import backoff
from appliance.common import clock as clocks
from appliance.domain import health

logger = logging.getLogger(__name__)

#: Tries of one healing until the part was well again.
HEAL_LIMIT = 5

Finding = tuple[health.Health, str]


@dataclass(slots=True)
class Check:
    """``look`` finds how the part is; ``heal`` tries to put it right and may raise. ``changed``
    says of a part that was given up whether another try may end otherwise than the last one."""

    name: str
    look: Callable[[], Finding]
    heal: Callable[[], None] | None = None
    action: str = ""
    limit: int = HEAL_LIMIT
    changed: Callable[[], bool] | None = None
    state: health.Health = health.Health.UNKNOWN
    reason: str = "not looked at yet"
    check_count: int = 0
    failed_checks: int = 0
    heal_attempts: int = 0
    tries: int = 0
    heal_error: str = ""
    next_try: float = 0.0
    pause: backoff.Backoff = field(default_factory=lambda: backoff.Backoff(1.0, 60.0))

    @property
    def given_up(self) -> bool:
        return self.heal is not None and self.tries >= self.limit


class Checks:
    """``run_once`` is called by one loop; the rest by any thread."""

    def __init__(self, checks: Sequence[Check], clock: clocks.Clock) -> None:
        self._checks = list(checks)
        self._clock = clock
        self._lock = threading.Lock()
        self.check_count = 0

    def run_once(self) -> None:
        for check in self._checks:
            state, reason = _look(check)
            with self._lock:
                # Reasons have times in them, and a breaker's change with each look.
                if state != check.state:
                    logger.info("part part=%s state=%s why=%s", check.name, state, reason)
                check.state, check.reason = state, reason
                check.check_count += 1
                check.failed_checks += state is health.Health.UNKNOWN
            self._heal(check)
        with self._lock:
            self.check_count += 1

    def overall(self) -> health.Health:
        with self._lock:
            return health.worst(check.state for check in self._checks)

    def given_up(self) -> dict[str, tuple[int, str]]:
        """Parts whose healing reached its limit: tries and the last error."""
        with self._lock:
            return {c.name: (c.tries, c.heal_error or c.reason) for c in self._checks if c.given_up}

    def report(self) -> list[dict[str, Any]]:
        """Each part, as /health/components and the pages show it."""
        with self._lock:
            return [
                {
                    "part": check.name,
                    "state": check.state.value,
                    "reason": check.reason,
                    "check_count": check.check_count,
                    "failed_checks": check.failed_checks,
                    "heal_action": check.action,
                    "heal_attempts": check.heal_attempts,
                    "heal_error": check.heal_error,
                    "given_up": check.given_up,
                }
                for check in self._checks
            ]

    def _heal(self, check: Check) -> None:
        if check.state is health.Health.HEALTHY:
            with self._lock:
                check.tries, check.heal_error = 0, ""
            check.pause.reset()
            check.next_try = 0.0
            return
        if check.heal is None or check.state is not health.Health.UNHEALTHY:
            return
        if not (_changed(check) if check.given_up else self._clock.monotonic() >= check.next_try):
            return
        error = ""
        try:
            check.heal()
        except Exception as exc:  # noqa: BLE001 - whatever it runs into, the checks go on
            error = str(exc) or type(exc).__name__
        check.next_try = self._clock.monotonic() + check.pause.next_s()
        with self._lock:
            check.heal_attempts += 1
            check.tries += 1
            check.heal_error = error
        logger.warning(
            "healed part=%s action=%s try=%d of=%d error=%s",
            check.name, check.action, check.tries, check.limit, error or "-",
        )  # fmt: skip


def _changed(check: Check) -> bool:
    try:
        return check.changed is not None and check.changed()
    except Exception:  # noqa: BLE001 - it cannot be told, so another try would be in vain too
        return False


def _look(check: Check) -> Finding:
    try:
        return check.look()
    except Exception as exc:  # noqa: BLE001 - a check that fails says nothing about its part
        return health.Health.UNKNOWN, f"the check itself failed: {exc}"

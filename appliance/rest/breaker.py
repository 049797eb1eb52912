"""Circuit breakers for control calls from one role to another (never for the data path, where
R2 and R4 decide). States and counting are pybreaker's; what is ours is that calls run side by
side: pybreaker alone lets one call in at a time.

A breaker opens after ``FAILURES`` calls in a row without an answer; from then on no call goes
out. After ``PROBE_S`` one call is let through: its answer closes the breaker, its failure opens
it for as long again.
"""

import collections
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import pybreaker

from appliance.common import errors

T = TypeVar("T")

FAILURES = 3
PROBE_S = 5.0

#: Calls under way at once through one breaker; a further one is refused, not queued, so that a
#: peer that hangs costs no more threads than this.
CALLS_AT_ONCE = 8

#: Calls whose duration is remembered for percentiles.
_REMEMBERED = 512


@dataclass(frozen=True, slots=True)
class Figures:
    """``state``: closed, open or half-open. Durations are of the newest calls, in seconds; 0
    before the first. ``opened``: how often it opened."""

    name: str
    state: str
    calls: int
    failed_calls: int
    refused_calls: int
    opened: int
    in_flight: int
    p50_s: float
    p95_s: float
    p99_s: float
    last_error: str


class Breaker:
    """Thread-safe. ``call`` waits for nothing but the call itself."""

    def __init__(
        self,
        name: str,
        failures: int = FAILURES,
        probe_s: float = PROBE_S,
        at_once: int = CALLS_AT_ONCE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._probe_s = probe_s
        self._at_once = at_once
        self._monotonic = monotonic
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=failures,
            reset_timeout=probe_s,
            exclude=[_is_answer],
            throw_new_error_on_trip=False,
        )
        self._lock = threading.Lock()
        self._probing = False
        self._in_flight = 0
        self._opened_at = 0.0
        self._calls = self._failed = self._refused = self._opened = 0
        self._durations: collections.deque[float] = collections.deque(maxlen=_REMEMBERED)
        self._last_error = ""

    def call(self, body: Callable[[], T]) -> T:
        """What ``body`` returns or raises; errors.Unreachable and OSError count as no answer.

        Raises errors.Unavailable, without calling it, while the breaker is open or too many
        calls are under way.
        """
        probe = self._admit()
        began = self._monotonic()
        error: Exception | None = None
        try:
            return body()
        except Exception as exc:
            error = exc
            raise
        finally:
            self._ended(probe, self._monotonic() - began, error)

    @property
    def state(self) -> str:
        with self._lock:
            return self._breaker.current_state

    def figures(self) -> Figures:
        with self._lock:
            taken = sorted(self._durations)
            return Figures(
                name=self.name,
                state=self._breaker.current_state,
                calls=self._calls,
                failed_calls=self._failed,
                refused_calls=self._refused,
                opened=self._opened,
                in_flight=self._in_flight,
                p50_s=_percentile(taken, 0.50),
                p95_s=_percentile(taken, 0.95),
                p99_s=_percentile(taken, 0.99),
                last_error=self._last_error,
            )

    def _admit(self) -> bool:
        """Let a call in; whether it is the probe of a half-open breaker."""
        with self._lock:
            state = self._breaker.current_state
            left_s = self._opened_at + self._probe_s - self._monotonic()
            if state == pybreaker.STATE_OPEN and left_s <= 0:
                self._breaker.half_open()
                state = pybreaker.STATE_HALF_OPEN
            closed = state == pybreaker.STATE_CLOSED
            if not closed and (state == pybreaker.STATE_OPEN or self._probing):
                self._refused += 1
                raise errors.Unavailable(
                    why=f"{self.name} did not answer {self._breaker.fail_max} times in a row "
                    f"({self._last_error}); asked again in {max(0.0, left_s):.0f} s"
                )
            if self._in_flight >= self._at_once:
                self._refused += 1
                raise errors.Unavailable(
                    why=f"{self._in_flight} calls to {self.name} wait for an answer already; "
                    "try again in a moment"
                )
            self._in_flight += 1
            self._calls += 1
            self._probing = not closed
            return self._probing

    def _ended(self, probe: bool, took_s: float, error: Exception | None) -> None:
        with self._lock:
            self._in_flight -= 1
            self._durations.append(took_s)
            if probe:
                self._probing = False
            if error is not None and not _is_answer(error):
                self._failed += 1
                self._last_error = str(error)
            if self._breaker.current_state == pybreaker.STATE_OPEN:
                return  # calls that were under way when it opened change nothing
            try:
                self._breaker.call(_outcome, error)
            except Exception as exc:
                if exc is not error and not isinstance(exc, pybreaker.CircuitBreakerError):
                    raise
            if self._breaker.current_state == pybreaker.STATE_OPEN:
                self._opened += 1
                self._opened_at = self._monotonic()


def _is_answer(error: BaseException) -> bool:
    """Whether whoever was called answered, be it with a refusal."""
    return not isinstance(error, errors.Unreachable | OSError)


def _outcome(error: Exception | None) -> None:
    if error is not None:
        raise error


def _percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

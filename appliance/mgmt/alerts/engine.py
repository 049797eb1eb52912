"""When an alert is raised and when it is cleared: pure, with ``now`` as an argument.

A rule is broken while its value is at or beyond the threshold, and well while it is on the good
side of the clear threshold; in between nothing changes (hysteresis). It has to be broken for
``hold_s`` without a break to be raised, and well for ``clear_hold_s`` to be cleared. So between
two raises of one alert at least the sum of both holds passes: nothing flaps.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Key = tuple[str, str]  # rule id, component id


@dataclass(frozen=True, slots=True)
class Rule:
    """``below``: the value is bad at or under the threshold, not at or over it."""

    id: str
    severity: str
    threshold: float
    clear_threshold: float
    hold_s: float
    clear_hold_s: float
    enabled: bool = True
    below: bool = False

    def broken(self, value: float) -> bool:
        return value <= self.threshold if self.below else value >= self.threshold

    def well(self, value: float) -> bool:
        if self.clear_threshold == self.threshold:
            return not self.broken(value)
        return value > self.clear_threshold if self.below else value < self.clear_threshold


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of one component. ``message`` has the numbers. A component of which there is
    none is well."""

    rule_id: str
    component_type: str
    component_id: str
    component_name: str
    value: float
    message: str
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        return self.rule_id, self.component_id


@dataclass(frozen=True, slots=True)
class Outcome:
    """``raised`` and ``cleared`` in this step; ``present``: newest readings of what is open."""

    raised: list[Reading]
    cleared: list[Key]
    present: list[Reading]


class Engine:
    """Remembers what is open and since when values are as they are. Not thread-safe."""

    def __init__(self, open_: Iterable[Key] = ()) -> None:
        self._open: set[Key] = set(open_)
        self._bad_since: dict[Key, float] = {}
        self._good_since: dict[Key, float] = {}

    @property
    def open(self) -> frozenset[Key]:
        return frozenset(self._open)

    def step(
        self,
        now: float,
        rules: Mapping[str, Rule],
        readings: Iterable[Reading],
        blind: Collection[str] = (),
    ) -> Outcome:
        """Take the values of monotonic time ``now``. Rules in ``blind`` could not be measured:
        what is open of them stays, and nothing is raised."""
        raised, present = [], []
        seen: dict[Key, Reading] = {}
        for reading in readings:
            rule = rules.get(reading.rule_id)
            if rule is None or not rule.enabled or reading.rule_id in blind:
                continue
            seen[reading.key] = reading
            if reading.key in self._open:
                present.append(reading)
            elif self._broken_long_enough(now, rule, reading):
                self._open.add(reading.key)
                raised.append(reading)
        for key in [key for key in self._bad_since if key not in seen and key[0] not in blind]:
            del self._bad_since[key]
        cleared = [
            key for key in self._open if self._well_long_enough(now, rules, key, seen, blind)
        ]
        for key in cleared:
            self._open.discard(key)
            self._good_since.pop(key, None)
        return Outcome(raised, sorted(cleared), [r for r in present if r.key in self._open])

    def forget(self, key: Key) -> None:
        """A person resolved it; if it is broken still, it has to hold anew to be raised."""
        self._open.discard(key)
        self._good_since.pop(key, None)
        self._bad_since.pop(key, None)

    def _broken_long_enough(self, now: float, rule: Rule, reading: Reading) -> bool:
        if not rule.broken(reading.value):
            self._bad_since.pop(reading.key, None)
            return False
        since = self._bad_since.setdefault(reading.key, now)
        if now - since < rule.hold_s:
            return False
        del self._bad_since[reading.key]
        return True

    def _well_long_enough(
        self,
        now: float,
        rules: Mapping[str, Rule],
        key: Key,
        seen: Mapping[Key, Reading],
        blind: Collection[str],
    ) -> bool:
        rule = rules.get(key[0])
        if rule is None or not rule.enabled:
            return True
        if key[0] in blind:
            return False
        reading = seen.get(key)
        if reading is not None and not rule.well(reading.value):
            self._good_since.pop(key, None)
            return False
        return now - self._good_since.setdefault(key, now) >= rule.clear_hold_s

"""How many copies run at once at a device, and how fast, so that applications are not in their way.

Pure; the MDM applies it to all copies of a pool, resyncs and moves alike, as often as anything
changes.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from appliance.common import units

#: Copies at one device at once where the policy sets no number: each is a process.
MOST_COPIES = 8

#: Copies at one device at once where only their bandwidth is limited, or applications come first.
FEW_COPIES = 2

#: Bytes a second and device that copies may take while applications do I/O, unless told otherwise.
BUSY_BANDWIDTH = 10 * units.MIB


class Mode(StrEnum):
    UNLIMITED = "unlimited"
    COPIES = "copies"  # so many at once at a device
    BANDWIDTH = "bandwidth"  # so many bytes a second at a device
    FAVOUR_APPLICATION = "favour_application"  # slowly while clients do I/O, else unlimited


@dataclass(frozen=True, slots=True)
class Policy:
    """``copies`` and ``bandwidth`` are limits of one device; 0: the mode's own."""

    mode: Mode = Mode.FAVOUR_APPLICATION
    copies: int = 0
    bandwidth: int = 0


@dataclass(frozen=True, slots=True)
class Allowance:
    """``bandwidth`` in bytes a second at one device, 0 for no limit."""

    copies: int
    bandwidth: int


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy that waits or runs. ``devices``: its target and its sources. The lowest ``rank``
    goes first; one that runs goes before any that waits."""

    key: tuple[str, str]
    devices: frozenset[str]
    running: bool
    rank: int = 0


def allowance(policy: Policy, busy: bool) -> Allowance:
    """What the policy allows now. ``busy``: clients of the pool do I/O."""
    if policy.mode is Mode.UNLIMITED:
        return Allowance(MOST_COPIES, 0)
    if policy.mode is Mode.COPIES:
        return Allowance(policy.copies or 1, 0)
    if policy.mode is Mode.BANDWIDTH:
        return Allowance(policy.copies or FEW_COPIES, policy.bandwidth or BUSY_BANDWIDTH)
    # As many in both states: a copy that was stopped would have to begin again.
    bandwidth = policy.bandwidth or BUSY_BANDWIDTH
    return Allowance(policy.copies or FEW_COPIES, bandwidth if busy else 0)


def grant(copies: Sequence[Copy], allowed: Allowance) -> dict[tuple[str, str], int]:
    """The bandwidth of each copy that may run, by key; 0 is no limit. The others wait.

    No copy begins where a device has as many as allowed, nor do the bandwidths of a device's
    copies add up to more. One that runs goes on, at another speed perhaps: stopped, it would have
    to begin again.
    """
    busy: Counter[str] = Counter()
    chosen = []
    for copy in sorted(copies, key=lambda one: (not one.running, one.rank, one.key)):
        if copy.running or all(busy[device] < allowed.copies for device in copy.devices):
            busy.update(copy.devices)
            chosen.append(copy)
    if not allowed.bandwidth:
        return {copy.key: 0 for copy in chosen}
    return {
        copy.key: max(1, allowed.bandwidth // max(busy[device] for device in copy.devices))
        for copy in chosen
    }

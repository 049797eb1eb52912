"""How a pool's volumes are scrubbed: the policy, and when a volume is due. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from appliance.common import units

_DAY_S = 86400.0

#: The part of a pool's policy that is read here.
KEY = "scrub"


@dataclass(frozen=True, slots=True)
class Policy:
    """``rate``: bytes a second read from each device, 0 for no limit. ``repair``: write the good
    copy over one that is proved to have rotted, else it is only told of."""

    enabled: bool = True
    rate: int = 3 * units.MIB
    repair: bool = True
    interval_days: int = 30

    def bandwidth(self, devices: int) -> int:
        """Bytes of a volume over ``devices`` that may be compared a second: each is read twice."""
        return self.rate * max(2, devices) // 2

    def due(self, now: float, made_at: float, scrubbed_at: float | None) -> bool:
        """Whether a volume's next pass begins: one interval after it was made or last done."""
        last = made_at if scrubbed_at is None else scrubbed_at
        return self.enabled and now - last >= self.interval_days * _DAY_S


def policy(of_pool: Mapping[str, Any]) -> Policy:
    """The scrub policy in a pool's policies; what they do not say is as by default."""
    return Policy(**of_pool.get(KEY, {}))

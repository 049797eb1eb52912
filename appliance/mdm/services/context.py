"""What services need beside their arguments. Made once, by ``mdm.app``, and handed to all."""

from collections.abc import Callable
from dataclasses import dataclass, field

from appliance.common import clock
from appliance.mdm import config
from appliance.mdm.db import unit_of_work
from appliance.mdm.services import liveness, rejoins, statistics


@dataclass(frozen=True, slots=True)
class Context:
    """``started`` is the monotonic time of this MDM's start; ``tokens_changed`` makes the
    authenticator read the tokens again."""

    config: config.Config
    clock: clock.Clock
    uow: unit_of_work.UnitOfWork
    liveness: liveness.Liveness
    statistics: statistics.Statistics
    database_url: str
    started: float
    tokens_changed: Callable[[], None]
    waits: rejoins.Rejoins = field(default_factory=rejoins.Rejoins)

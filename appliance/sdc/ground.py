"""What every mapping of this client stands on, wired once by ``app``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from appliance.common import clock
from appliance.sdc import config, launch, starts
from appliance.sdc.attach import choose, interface


@dataclass(frozen=True, slots=True)
class Ground:
    """``backends`` by the names of ``attach.choose``. ``news`` asks for a poll of the MDM at
    once; it never blocks."""

    cfg: config.Config
    launcher: launch.Launcher
    boot_id: str
    backends: Mapping[str, interface.Backend]
    probes: choose.Probes
    starts: starts.Starts
    clock: clock.Clock
    news: Callable[[], None]

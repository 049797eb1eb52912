"""Looks regularly for replicas that have to go elsewhere: see ``services.relocation``."""

from appliance.common import daemon
from appliance.mdm.services import relocation

#: Time between two rounds. Seconds.
INTERVAL_S = 1.0


def loop(of: relocation.Relocation) -> daemon.Loop:
    """The loop, not started."""
    return daemon.Loop("relocation", INTERVAL_S, of.run_once)

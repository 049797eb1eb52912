"""Adapts running copies to what clients do and what people set: see ``services.policies``."""

from appliance.common import daemon
from appliance.mdm.services import policies

#: Time between two rounds. Seconds.
INTERVAL_S = 1.0


def loop(of: policies.Policies) -> daemon.Loop:
    """The loop, not started."""
    return daemon.Loop("policies", INTERVAL_S, of.run_once)

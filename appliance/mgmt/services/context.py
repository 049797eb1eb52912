"""What pages and resources need. Made once, by ``mgmt.app``, and handed to all."""

from collections.abc import Callable
from dataclasses import dataclass

from appliance.common import clock
from appliance.mgmt import config
from appliance.mgmt.alerts import watch
from appliance.mgmt.db import database
from appliance.mgmt.delivery import queue
from appliance.mgmt.services import forecast, history, mdm, passwords, sessions, view
from appliance.rest import checks, metrics


@dataclass(frozen=True, slots=True)
class Context:
    """``port`` is the one served at, once it is."""

    config: config.Config
    clock: clock.Clock
    db: database.Database
    mdm: mdm.Mdm
    view: view.View
    history: history.History
    hasher: passwords.Hasher
    sessions: sessions.Sessions
    samples: forecast.Samples
    watch: watch.Watch
    queue: queue.Queue
    checks: checks.Checks
    times: metrics.RequestTimes
    started: float
    port: Callable[[], int]

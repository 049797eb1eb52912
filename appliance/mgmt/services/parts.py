"""The parts MGMT stands on, how each is looked at, and how it is healed."""

from collections.abc import Callable

from appliance.common import daemon, errors
from appliance.domain import health
from appliance.mgmt.db import database
from appliance.mgmt.delivery import queue
from appliance.mgmt.services import mdm, view
from appliance.rest import checks

Health = health.Health


def make(
    db: database.Database,
    source: mdm.Mdm,
    seen: view.View,
    queued: queue.Queue,
    loop: Callable[[], daemon.Loop],
) -> list[checks.Check]:
    """``loop`` is the one that polls, known later than this."""
    return [
        checks.Check(
            "mdm",
            lambda: _mdm(seen),
            lambda: _again(source),
            "read the MDM's token again",
            changed=source.token_changed,
        ),
        checks.Check("database", lambda: _database(db), db.reopen, "reopen the database"),
        checks.Check("delivery", lambda: _delivery(queued)),
        checks.Check("poll", _Turning(loop)),
    ]


def _mdm(seen: view.View) -> checks.Finding:
    why = seen.problem
    if not why:
        return Health.HEALTHY, ""
    # While nobody answers MGMT works on with what it knows, and no other token helps.
    return (Health.UNHEALTHY if seen.locked_out else Health.DEGRADED), why


def _again(source: mdm.Mdm) -> None:
    if not source.token_renewed():
        raise errors.Unavailable(why="the file holds the same token as before")


def _database(db: database.Database) -> checks.Finding:
    why = db.trouble() and db.tried_again()
    if why:
        return Health.UNHEALTHY, why
    return Health.HEALTHY, ""


def _delivery(queued: queue.Queue) -> checks.Finding:
    failed = queued.failed()
    if failed:
        return Health.DEGRADED, f"messages were given up: {', '.join(failed)}"
    return Health.HEALTHY, ""


class _Turning:
    """Unhealthy if the loop made no turn since it was last looked at ``_PATIENCE`` times."""

    _PATIENCE = 30

    def __init__(self, loop: Callable[[], daemon.Loop]) -> None:
        self._loop = loop
        self._turns = -1
        self._still = 0

    def __call__(self) -> checks.Finding:
        turns = self._loop().turns
        self._still = 0 if turns != self._turns else self._still + 1
        self._turns = turns
        if self._still >= self._PATIENCE:
            return Health.UNHEALTHY, "the MDM was not asked for a while; see MGMT's log"
        return Health.HEALTHY, ""

"""How well something is, in the four words used everywhere, from what is known of its parts."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from appliance.domain import model


class Health(StrEnum):
    HEALTHY = "healthy"
    DEGRADED = "degraded"  # works, with less redundancy or slower
    UNHEALTHY = "unhealthy"  # a user is hurt
    UNKNOWN = "unknown"  # the check itself failed


class Reach(StrEnum):
    """Whether a part answers. ``UNKNOWN``: too early to say."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Flaw:
    """A replica that is not both in sync and reachable. ``where`` names its SDS; ``note`` says
    more, for people."""

    column: int
    state: model.ReplicaState
    reach: Reach
    where: str
    note: str = ""


def volume(
    flaws: Iterable[Flaw], turn_open: bool, moving: Collection[int] = ()
) -> tuple[Health, str]:
    """A volume's health and the reason, from all its flawed replicas (empty if healthy).

    ``moving`` are the columns that have one replica more than usual.
    """
    by_column: dict[int, list[Flaw]] = {}
    for flaw in flaws:
        by_column.setdefault(flaw.column, []).append(flaw)
    lost, unclear, thin = [], [], []
    for column, found in by_column.items():
        perhaps = sum(1 for flaw in found if _perhaps(flaw))
        usable = model.REPLICAS + (column in moving) - len(found)
        if usable >= model.REPLICAS:
            continue
        if usable + perhaps <= 0:
            lost.append(column)
        elif usable <= 0 or perhaps == len(found):
            unclear.append(column)
        else:
            thin.append(column)
    if lost:
        names = _names(flaw for column in lost for flaw in by_column[column])
        return Health.UNHEALTHY, f"{_count(lost)} without a readable copy; bring back {names}"
    if unclear:
        names = _names(flaw for column in unclear for flaw in by_column[column])
        return Health.UNKNOWN, f"not heard yet of {names}"
    if thin:
        details = _details(flaw for column in thin for flaw in by_column[column])
        return Health.DEGRADED, f"{_count(thin)} with one copy only: {details}"
    if turn_open:
        return Health.DEGRADED, "its map is being changed"
    return Health.HEALTHY, ""


def worst(states: Iterable[Health]) -> Health:
    """The gravest of ``states``; healthy if there are none."""
    order = [Health.HEALTHY, Health.UNKNOWN, Health.DEGRADED, Health.UNHEALTHY]
    return max(states, key=order.index, default=Health.HEALTHY)


def _perhaps(flaw: Flaw) -> bool:
    return flaw.state is model.ReplicaState.IN_SYNC and flaw.reach is Reach.UNKNOWN


def _count(columns: list[int]) -> str:
    return "1 column" if len(columns) == 1 else f"{len(columns)} columns"


def _names(flaws: Iterable[Flaw]) -> str:
    return ", ".join(sorted({flaw.where for flaw in flaws}))


def _details(flaws: Iterable[Flaw]) -> str:
    found = {
        f"{flaw.where} is {flaw.reach if flaw.reach is not Reach.UP else flaw.state.value}"
        + (f" ({flaw.note})" if flaw.note else "")
        for flaw in flaws
    }
    return ", ".join(sorted(found))

"""The turn: how a volume passes from one generation to the next. Pure; the MDM drives it.

A turn seals every device that stays in or joins the map (R4), decides each replica's state from
who sealed (R1, R7), and becomes effective when nobody can read by the old map any more (R6).
The MDM commits ``generation`` before the first order goes out, and the decided columns before
anyone may act on them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from appliance.domain import model

Columns = tuple[tuple[model.Replica, ...], ...]


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of one volume, begun and not yet over.

    ``columns`` are those of the old map. ``joiners`` are devices whose stale replicas shall come
    back. ``drop`` are devices to be taken out where their columns can do without them. ``leave``
    are (column, device) of replicas that a move has made needless: out, unless that would cost
    redundancy. ``doubt``: an incarnation ended uncleanly, so copies may differ in marked regions
    (R7). ``gone`` are
    devices known not to answer, which nobody waits for. ``seals`` says, for each device that
    sealed, whether it had lost its cache. ``clients`` are the incarnations that had the volume
    mapped under the old map and have not said that they left it. ``inherited``: a turn before
    this one did not end, so that a client may hold a map older than ``columns``. ``ordered``: an
    operator accepts the loss of what only unsealed replicas have.
    """

    generation: int
    columns: Columns
    began_s: float
    deadline_s: float
    joiners: frozenset[str] = frozenset()
    drop: frozenset[str] = frozenset()
    leave: frozenset[tuple[int, str]] = frozenset()
    doubt: bool = False
    inherited: bool = False
    ordered: bool = False
    gone: frozenset[str] = frozenset()
    seals: Mapping[str, bool] = field(default_factory=dict)
    last_seal_s: float = 0.0
    clients: frozenset[str] = frozenset()

    def sealed(self, device_id: str, cache_lost: bool, now: float) -> "Turn":
        """With a device's report that it sealed; a repeated report changes nothing."""
        if device_id in self.seals:
            return self
        return replace(self, seals={**self.seals, device_id: cache_lost}, last_seal_s=now)

    def left(self, incarnation: str) -> "Turn":
        """With a client's word that it issues nothing under an older generation."""
        return replace(self, clients=self.clients - {incarnation})

    def awaited(self) -> frozenset[str]:
        """Devices that should seal and have not, those known to be gone left out."""
        written = {r.device_id for column in self.columns for r in column if r.written}
        return frozenset((written | self.joiners) - set(self.seals) - self.gone)


class Verdict(StrEnum):
    WAITING = "waiting"  # for seals that may still come
    BLOCKED = "blocked"  # a column has no replica that may stay; only a device can help
    DECIDED = "decided"


@dataclass(frozen=True, slots=True)
class Decision:
    """``columns`` are the new states when DECIDED. ``missing``: the devices to bring back when
    BLOCKED. ``lost``: acknowledged but unflushed writes may be gone (R7)."""

    verdict: Verdict
    columns: Columns = ()
    missing: frozenset[str] = frozenset()
    lost: bool = False


def decide(turn: Turn, now: float) -> Decision:
    """What the seals so far allow. Once DECIDED the same turn decides nothing else: commit it."""
    if turn.awaited() and now < turn.deadline_s:
        return Decision(Verdict.WAITING)
    missing: set[str] = set()
    for column in turn.columns:
        if not _has_keeper(turn, column):
            missing.update(r.device_id for r in column if r.readable and not _sealed(turn, r))
    if missing:
        return Decision(Verdict.BLOCKED, missing=frozenset(missing))
    columns = []
    lost = False
    for index, column in enumerate(turn.columns):
        states, column_lost = _decide_column(turn, index, column)
        columns.append(states)
        lost = lost or column_lost
    return Decision(Verdict.DECIDED, tuple(columns), lost=lost)


def effective(turn: Turn, now: float) -> bool:
    """Whether a decided turn's map may be handed out: no client can read by an older one (R6).

    At once if every in-sync replica of the old map sealed (its servers are dead). Else when every
    client left, or when each one's pulse of a sealed replica must have run out.
    """
    if not turn.inherited and all(
        _sealed(turn, replica) for column in turn.columns for replica in column if replica.readable
    ):
        return True
    if not turn.clients:
        return True
    return now >= turn.last_seal_s + model.PULSE_S + model.PULSE_MARGIN_S


def _sealed(turn: Turn, replica: model.Replica) -> bool:
    return replica.device_id in turn.seals


def _cache_lost(turn: Turn, replica: model.Replica) -> bool:
    return turn.seals[replica.device_id]


def _has_keeper(turn: Turn, column: tuple[model.Replica, ...]) -> bool:
    """Whether an in-sync replica may stay: one that kept its cache, or any if all reported (R4)."""
    readable = [replica for replica in column if replica.readable]
    sealed = [replica for replica in readable if _sealed(turn, replica)]
    if any(not _cache_lost(turn, replica) for replica in sealed):
        return True
    return bool(sealed) and (len(sealed) == len(readable) or turn.ordered)


def _decide_column(
    turn: Turn, index: int, column: tuple[model.Replica, ...]
) -> tuple[tuple[model.Replica, ...], bool]:
    survivors = [r for r in column if r.readable and _sealed(turn, r)]
    with_cache = [r for r in survivors if not _cache_lost(turn, r)]
    lost = not with_cache
    stay = [r for r in (with_cache or survivors) if r.device_id not in turn.drop]
    leaving = {r.device_id for r in column if (index, r.device_id) in turn.leave}
    rest = [r for r in stay if r.device_id not in leaving]
    if turn.doubt or lost or len(rest) < model.REPLICAS:
        # A good copy is not given up for others that are not all certain.
        leaving -= {r.device_id for r in survivors}
    else:
        stay = rest
    # A device to be dropped stays all the same where nobody else has the bytes.
    keepers = stay or with_cache or survivors
    in_sync = {r.device_id for r in (keepers[:1] if turn.doubt or lost else keepers)}
    states = []
    for replica in column:
        device = replica.device_id
        if device in in_sync:
            state = model.ReplicaState.IN_SYNC
        elif device not in turn.seals or device in turn.drop or device in leaving:
            state = model.ReplicaState.STALE
        elif replica.written or device in turn.joiners:
            state = model.ReplicaState.SYNCING
        else:
            state = model.ReplicaState.STALE
        states.append(model.Replica(device, state))
    return tuple(states), lost

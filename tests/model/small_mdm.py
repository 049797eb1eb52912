"""The MDM of the small world: the real ``domain.generations`` driven by reports and time, as
``mdm.services.turns`` and ``upkeep`` drive it. A planted bug overrides one of the first methods."""

from dataclasses import dataclass, field, replace

from appliance.domain import generations, model

IN_SYNC, SYNCING, STALE = model.ReplicaState

#: How long a turn waits for a seal; how long a replica that left stays away. Seconds.
SEAL_S = 2.0
REJOIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Map:
    generation: int
    version: int
    column: tuple[model.Replica, ...]
    servers: dict[str, int]
    lost_generation: int

    @property
    def written(self) -> list[str]:
        return [r.device_id for r in self.column if r.written]

    @property
    def readable(self) -> list[str]:
        return [r.device_id for r in self.column if r.readable]


@dataclass(frozen=True, slots=True)
class Report:
    """What an SDS says of its leg; ``server`` is 0 if nothing is served."""

    generation: int
    server: int
    cache_id: int
    flushed: bool
    synced: frozenset[int]
    copied: int


@dataclass(frozen=True, slots=True)
class Order:
    generation: int
    incarnations: frozenset[int]
    retire: frozenset[int]
    flush: bool
    copy_from: str


@dataclass(slots=True)
class Mdm:
    """``durable`` is what survives a restart: everything but the last two."""

    devices: tuple[str, ...]
    generation: int = 1
    version: int = 1
    column: tuple[model.Replica, ...] = ()
    turn_open: bool = False
    lost_generation: int = 0
    incarnations: dict[int, str] = field(default_factory=dict)
    named: frozenset[int] = frozenset()
    caches: dict[str, int] = field(default_factory=dict)
    reports: dict[str, Report] = field(default_factory=dict)
    turn: generations.Turn | None = None
    decided: bool = False
    left: dict[int, int] = field(default_factory=dict)
    rejoin_at: dict[str, float] = field(default_factory=dict)
    suspects: set[str] = field(default_factory=set)

    # --- what the rules say -------------------------------------------------------------------

    def decide(self, turn: generations.Turn, now: float) -> generations.Decision:
        return generations.decide(turn, now)

    def effective(self, turn: generations.Turn, now: float) -> bool:
        return generations.effective(turn, now)

    def join(self, joiners: set[str], now: float, gone: set[str]) -> None:
        """In a turn (R8)."""
        self.begin(now, joiners, gone)

    # --- reports in, orders out -----------------------------------------------------------------

    def hear(self, device: str, report: Report, now: float) -> None:
        self.reports[device] = report
        turn = self.turn
        if report.generation != self.generation or not report.server:
            return
        if turn is not None:
            if self.decided or (turn.doubt and not report.flushed):
                return
            lost = report.cache_id != self.caches.get(device, report.cache_id)
            self.turn = turn.sealed(device, lost, now)
        elif report.copied == self.generation and self._state(device) is SYNCING:
            self._set({device: IN_SYNC})

    def order(self, device: str) -> Order:
        copy_from = ""
        if not self.turn_open and self._state(device) is SYNCING:
            copy_from = next(r.device_id for r in self.column if r.readable)
        retire = frozenset(i for i, s in self.incarnations.items() if s in ("retiring", "clean"))
        if self.turn_open or any(not r.readable for r in self.column):
            retire = frozenset()
        flush = "doubt" in self.incarnations.values()
        return Order(self.generation, frozenset(self.incarnations), retire, flush, copy_from)

    def hear_client(self, incarnation: int, dead: int, left: int, suspects: set[str]) -> None:
        """``dead``: the incarnation before it, if its plugin died."""
        if self.incarnations.get(dead) == "live":
            self.incarnations[dead] = "doubt"
        if incarnation:
            self.incarnations.setdefault(incarnation, "live")
            self.left[incarnation] = max(left, self.left.get(incarnation, 0))
            if self.turn is not None and left >= self.turn.generation - 1:
                self.turn = self.turn.left(str(incarnation))
            self.suspects |= suspects

    def map_for(self, incarnation: int) -> Map | None:
        if self.turn_open or incarnation not in self.named:
            return None
        written = [r.device_id for r in self.column if r.written]
        if any(self.reports[d].generation != self.generation for d in written):
            return None
        servers = {d: self.reports[d].server for d in written}
        return Map(self.generation, self.version, self.column, servers, self.lost_generation)

    # --- turns ----------------------------------------------------------------------------------

    def look(self, now: float, gone: set[str]) -> bool:
        """Do the next thing. True if acknowledged writes may be gone by what was decided."""
        if self.turn is not None:
            return self._go_on(self.turn, now, gone)
        written = [r.device_id for r in self.column if r.written]
        joiners = self._joinable(now, gone)
        ended = [d for d in written if not self._serves(d)]
        new = [i for i, s in self.incarnations.items() if s == "live" and i not in self.named]
        if self.turn_open or ended or new or self.suspects or "doubt" in self.incarnations.values():
            self.begin(now, joiners, gone)
        elif joiners:
            self.join(joiners, now, gone)
        else:
            self._retire()
        return False

    def begin(self, now: float, joiners: set[str], gone: set[str]) -> None:
        readers = {"live", "doubt"} | ({"retiring"} if self.turn_open else set())
        clients = {i for i, state in self.incarnations.items() if state in readers}
        clients -= {i for i, left in self.left.items() if left >= self.generation}
        self.generation += 1
        self.turn = generations.Turn(
            generation=self.generation,
            columns=(self.column,),
            began_s=now,
            deadline_s=now + SEAL_S,
            joiners=frozenset(joiners),
            drop=frozenset(self.suspects),
            doubt="doubt" in self.incarnations.values(),
            inherited=self.turn_open,
            gone=frozenset(gone),
            last_seal_s=now,
            clients=frozenset(map(str, clients)),
        )
        self.suspects = set()
        self.named = frozenset(self.incarnations)
        self.turn_open, self.decided = True, False

    def _go_on(self, turn: generations.Turn, now: float, gone: set[str]) -> bool:
        lost = False
        if not self.decided:
            new = set(self.incarnations) - self.named
            doubt = "doubt" in self.incarnations.values() and not turn.doubt
            if new or doubt or any(not self._serves(d) for d in turn.seals):
                self.begin(now, set(turn.joiners), gone)
                return False
            self.turn = turn = replace(turn, gone=frozenset(gone))
            decision = self.decide(turn, now)
            if decision.verdict is not generations.Verdict.DECIDED:
                return False
            for old, new_one in zip(self.column, decision.columns[0], strict=True):
                if not new_one.written and (old.written or old.device_id in turn.joiners):
                    self.rejoin_at[old.device_id] = now + REJOIN_S
            self.column = decision.columns[0]
            self.caches |= {d: self.reports[d].cache_id for d in turn.seals}
            lost = decision.lost
            if lost:
                self.lost_generation = self.generation
            if turn.doubt:
                ended = [i for i, state in self.incarnations.items() if state == "doubt"]
                self.incarnations |= dict.fromkeys(ended, "retiring")
            self.version += 1
            self.decided = True
        if self.effective(turn, now):
            self.turn, self.turn_open = None, False
            self.version += 1
        return lost

    def restart(self) -> None:
        """What it had in memory is gone."""
        self.turn, self.decided = None, False
        self.left, self.rejoin_at, self.suspects = {}, {}, set()

    def readable(self) -> list[str]:
        return [r.device_id for r in self.column if r.readable]

    def readable_left(self) -> bool:
        return any(r.readable for r in self.column)

    # --- small things -----------------------------------------------------------------------------

    def _state(self, device: str) -> model.ReplicaState:
        return next(r.state for r in self.column if r.device_id == device)

    def _set(self, states: dict[str, model.ReplicaState]) -> None:
        self.column = tuple(
            model.Replica(r.device_id, states.get(r.device_id, r.state)) for r in self.column
        )
        self.version += 1

    def _serves(self, device: str) -> bool:
        found = self.reports.get(device)
        return found is not None and found.generation == self.generation and found.server != 0

    def _joinable(self, now: float, gone: set[str]) -> set[str]:
        stale = {r.device_id for r in self.column if not r.written} - gone
        return {d for d in stale if now >= self.rejoin_at.get(d, 0.0)}

    def _retire(self) -> None:
        """Let an ended incarnation go once every replica was synced (R3)."""
        for incarnation in self.order(self.devices[0]).retire:
            if all(incarnation in self.reports[d].synced for d in self.devices):
                del self.incarnations[incarnation]

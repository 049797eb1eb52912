"""The MDM's real services on a real SQLite file, with simulated agents and a hand-moved clock.

Made as ``mdm.app`` makes them. ``restart`` is the MDM's death and new start on the same file.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import event, exc, orm, select

from appliance.domain import model
from appliance.mdm import bodies, config
from appliance.mdm.db import engine, migrate, models, unit_of_work
from appliance.mdm.loops import turns as turn_rounds
from appliance.mdm.services import (
    admission,
    clients,
    cluster,
    context,
    devices,
    heartbeats,
    liveness,
    mappings,
    policies,
    pools,
    reach,
    recovery,
    registration,
    relocation,
    statistics,
    turns,
    upkeep,
    volumes,
)
from appliance.protocol import messages
from tests.fakes import hand_clock, simulated_agents

#: Time between two steps of the whole cluster. Seconds.
STEP_S = 0.1

#: An agent that nobody poked and that has no news asks every so many steps.
POLL_STEPS = 5

#: The MDM looks for replicas that have to go elsewhere every so many steps.
RELOCATION_STEPS = 10


class Cluster:
    """``engine_`` is of the file mdm.db in ``folder``, which may be empty; one device per SDS,
    every SDS its own fault set."""

    def __init__(
        self, folder: Path, engine_: sqlalchemy.Engine, sds: int = 2, sdcs: int = 1
    ) -> None:
        self.folder = folder
        self.engine = engine_
        self.clock = hand_clock.HandClock()
        self.pokes: list[frozenset[unit_of_work.Poke]] = []
        self._step = 0
        self._start()
        self.sds = [self.new_sds(f"sds{n}") for n in range(1, sds + 1)]
        self.sdcs = [self._new_sdc(f"sdc{n}") for n in range(1, sdcs + 1)]
        pools.create(self.ctx, "test", bodies.NewPool(name="pool"))
        for agent in self.sds:
            self.add_device(agent, f"/srv/{agent.name}")
        self.steps(3)

    # --- the MDM -----------------------------------------------------------------------

    def _start(self) -> None:
        migrate.upgrade(self.engine)
        uow = unit_of_work.UnitOfWork(self.engine, self.clock, self.pokes.append)
        self.cluster_id, self.term = cluster.begin_term(uow)
        self.ctx = context.Context(
            config=config.Config(data_dir=self.folder),
            clock=self.clock,
            uow=uow,
            liveness=liveness.Liveness(),
            statistics=statistics.Statistics(),
            database_url=engine.url_of(self.folder, ""),
            started=self.clock.monotonic(),
            tokens_changed=lambda: None,
        )
        self.turns = turns.Turns(self.clock, self.ctx.waits)
        self.clients = clients.Clients(self.ctx)
        self.policies = policies.Policies(self.ctx)
        admitted = admission.Admission(self.turns, self.clock)
        self.upkeep = upkeep.Upkeep(
            self.turns,
            admitted,
            lambda ident: reach.agent(self.ctx, ident)[0],
            self.clients,
            self.policies.apply,
        )
        self.recovery = recovery.Recovery(self.ctx, self.turns, self.upkeep)
        self.beats = heartbeats.Heartbeats(self.ctx, self.turns, self.upkeep, self.clients)
        self.policies.plugins = self.beats.plugins
        self.rounds = turn_rounds.TurnRounds(
            self.ctx, self.turns, admitted, self.upkeep, self.clients
        )
        self.relocation = relocation.Relocation(self.ctx, self.turns, self.upkeep)

    def restart(self) -> None:
        """The MDM is killed and started again: all that it had in memory is gone."""
        self.close()
        self._start()

    def close(self) -> None:
        self.engine.dispose()

    # --- people ------------------------------------------------------------------------

    def add_device(self, agent: simulated_agents.SimSds, path: str) -> None:
        devices.create(self.ctx, "test", bodies.NewDevice(sds=agent.id, path=path, pool="pool"))

    def create(self, name: str = "vol", columns: int = 1, **fields: Any) -> str:
        """The id of a new volume of 64 MiB."""
        new = bodies.NewVolume(name=name, size_bytes=64 << 20, columns=columns, **fields)
        return volumes.create(self.ctx, "test", new)["id"]

    def map(self, volume: str, sdc: int = 0) -> None:
        mappings.create(self.ctx, "test", volume, bodies.NewMapping(sdc=f"sdc{sdc + 1}"))

    def unmap(self, volume: str, sdc: int = 0, force: bool = False) -> None:
        mappings.delete(self.ctx, "test", volume, f"sdc{sdc + 1}", force)

    def mapped(self, **fields: Any) -> str:
        """A volume that the first client maps; its id."""
        volume = self.create(**fields)
        self.map(volume)
        self.until(lambda: bool(self.sdcs[0].maps) and not self.row(volume).turn_open)
        return volume

    # --- time --------------------------------------------------------------------------

    def exchange(self, agent: simulated_agents.SimSds | simulated_agents.SimSdc) -> None:
        """One heartbeat and its orders."""
        if agent.silent:
            return
        if isinstance(agent, simulated_agents.SimSds):
            said = agent.beat()
            agent.take(said, self.beats.sds(agent.id, said))
        else:
            told = agent.beat()
            agent.take(told, self.beats.sdc(agent.id, told))

    def step(self) -> None:
        """A tenth of a second. Agents ask when it is time, when they were poked or have news."""
        self.clock.advance(STEP_S)
        self._step += 1
        poked = {ident for agents in self.pokes for _, ident in agents}
        self.pokes.clear()
        for agent in (*self.sds, *self.sdcs):
            if self._step % POLL_STEPS == 0 or agent.id in poked or agent.has_news():
                self.exchange(agent)
        self.rounds.run_once()
        if self._step % RELOCATION_STEPS == 0:
            self.relocation.run_once()
            self.policies.run_once()

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.step()

    def until(self, condition: Callable[[], bool], limit_s: float = 8.0) -> float:
        """Step until ``condition``; how long that took. Raises TimeoutError."""
        began = self.clock.now
        while not condition():
            if self.clock.now - began > limit_s:
                raise TimeoutError(f"not within {limit_s} s")
            self.step()
        return self.clock.now - began

    # --- what is there ------------------------------------------------------------------

    def row(self, volume: str) -> models.Volume:
        """The volume with everything, as committed; changes to it go nowhere."""
        with self.ctx.uow.read() as tx:
            found = tx.session.get_one(models.Volume, volume)
            _ = (found.replicas, found.legs, found.mappings, found.incarnations, found.moves)
            return found

    def states(self, volume: str) -> dict[str, set[str]]:
        """Replica states by the name of the SDS."""
        owner = {device: agent.name for agent in self.sds for device in agent.paths}
        found: dict[str, set[str]] = {}
        for replica in self.row(volume).replicas:
            found.setdefault(owner.get(replica.device_id, "?"), set()).add(replica.state)
        return found

    def all_in_sync(self, volume: str) -> bool:
        row = self.row(volume)
        return not row.turn_open and all(r.state == "in_sync" for r in row.replicas)

    def incarnations(self, volume: str) -> list[str]:
        return sorted(i.state for i in self.row(volume).incarnations)

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event.detail for event in self.event_rows(kind)]

    def event_rows(self, kind: str) -> list[models.Event]:
        with self.ctx.uow.read() as tx:
            query = select(models.Event).where(models.Event.kind == kind)
            return list(tx.session.scalars(query.order_by(models.Event.seq)))

    def device(self, sds: int) -> str:
        (found,) = self.sds[sds].paths
        return found

    def map_of(self, sdc: int = 0) -> model.VolumeMap:
        found = self.sdcs[sdc].plugin().map
        assert found is not None
        return found

    def map_states(self, sdc: int = 0) -> dict[str, set[str]]:
        """As ``states``, as the client has it."""
        owner = {device: agent.name for agent in self.sds for device in agent.paths}
        found: dict[str, set[str]] = {}
        for column in self.map_of(sdc).columns:
            for replica in column:
                found.setdefault(owner[replica.device_id], set()).add(replica.state.value)
        return found

    # --- a database in trouble ----------------------------------------------------------

    @contextmanager
    def failing_commits(self) -> Iterator[None]:
        """Every commit within fails, as on a full disk."""

        def fail(_session: orm.Session) -> None:
            cause = sqlite3.OperationalError("database or disk is full")
            cause.sqlite_errorname = "SQLITE_FULL"
            raise exc.OperationalError("COMMIT", {}, cause)

        event.listen(orm.Session, "before_commit", fail)
        try:
            yield
        finally:
            event.remove(orm.Session, "before_commit", fail)

    def writes(self) -> int:
        """How often the database was changed."""
        with self.engine.connect() as connection:
            return int(connection.exec_driver_sql("PRAGMA data_version").scalar_one())

    # --- inside -------------------------------------------------------------------------

    def new_sds(self, name: str) -> simulated_agents.SimSds:
        words = messages.Registration(name, ("127.0.0.1",), 7072)
        return simulated_agents.SimSds(registration.sds(self.ctx, words, "").id, name)

    def _new_sdc(self, name: str) -> simulated_agents.SimSdc:
        words = messages.Registration(name, ("127.0.0.1",), 7073)
        return simulated_agents.SimSdc(registration.sdc(self.ctx, words, "").id, name)


def empty_database(folder: Path) -> Path:
    """``folder``, with the database of a new MDM in it; to be copied for each cluster."""
    made = connect(folder)
    migrate.upgrade(made)
    made.dispose()
    return folder


def connect(folder: Path) -> sqlalchemy.Engine:
    """The engine of the database in ``folder``. One serves many clusters, one after the other:
    compiling statements anew is what takes time."""
    made = engine.connect(engine.url_of(folder, ""), 4)
    event.listen(made, "connect", _hasty)  # after the engine's own preparation
    return made


def _hasty(connection: Any, _record: Any) -> None:
    """No test here cuts the power, and nobody gives a lock back: waiting would be for nothing."""
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA busy_timeout = 1")

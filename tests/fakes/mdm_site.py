"""The MDM's services over a real database, without HTTP, loops or agents: what agents would
report is written into the database by hand."""

import secrets
from pathlib import Path

from sqlalchemy import select, update

from appliance.mdm import bodies, config
from appliance.mdm.db import engine, migrate, models, unit_of_work
from appliance.mdm.services import (
    cluster,
    context,
    devices,
    liveness,
    pools,
    registration,
    statistics,
)
from appliance.protocol import messages
from tests.fakes import hand_clock

GIB = 1024**3
MIB = 1024**2
ACTOR = "tester"


class Site:
    """``ctx`` is what services take; ``pokes`` are the agents asked to poll, in order."""

    def __init__(self, folder: Path) -> None:
        self.clock = hand_clock.HandClock()
        self.pokes: list[unit_of_work.Poke] = []
        self.reloads = 0
        settings = config.Config(data_dir=folder, host="127.0.0.1", port=0)
        url = engine.url_of(folder, "")
        self.engine = engine.connect(url, 4)
        migrate.upgrade(self.engine)
        uow = unit_of_work.UnitOfWork(self.engine, self.clock, self._poked)
        cluster.begin_term(uow)
        self.ctx = context.Context(
            config=settings,
            clock=self.clock,
            uow=uow,
            liveness=liveness.Liveness(),
            statistics=statistics.Statistics(),
            database_url=url,
            started=self.clock.monotonic(),
            tokens_changed=self._reload,
        )

    def close(self) -> None:
        self.engine.dispose()

    def pool(self, name: str = "p", **values: int) -> str:
        return pools.create(self.ctx, ACTOR, bodies.NewPool(name=name, **values))["id"]

    def sds(self, name: str, fault_set: str = "") -> str:
        """A registered SDS that was just heard."""
        words = messages.Registration(name, ("127.0.0.1",), 7072, fault_set=fault_set)
        ident = registration.sds(self.ctx, words, "").id
        self.heard(ident)
        return ident

    def heard(self, *idents: str) -> None:
        for ident in idents:
            self.ctx.liveness.seen(ident, self.clock.monotonic())

    def sdc(self, name: str) -> str:
        words = messages.Registration(name, ("127.0.0.1",), 7073)
        return registration.sdc(self.ctx, words, "").id

    def device(self, sds: str, pool: str, capacity: int = 100 * GIB, path: str = "") -> str:
        """A device that its SDS adopted."""
        where = path or f"/srv/{secrets.token_hex(4)}"
        new = bodies.NewDevice(sds=sds, path=where, pool=pool)
        ident = devices.create(self.ctx, ACTOR, new)["id"]
        facts = {"state": "ok", "reason": "", "capacity_bytes": capacity, "free_bytes": capacity}
        self.set(models.Device, ident, **facts)
        return ident

    def ready(self, servers: int = 3, capacity: int = 100 * GIB) -> list[str]:
        """Pool ``p`` with a device on each of some SDSs, each its own fault set; device ids."""
        pool = self.pool()
        return [self.device(self.sds(f"sds{n}"), pool, capacity) for n in range(1, servers + 1)]

    def set(self, model: type[models.Base], ident: str, **values: object) -> None:
        """Change a row as an agent's report would."""
        with self.ctx.uow.write("test") as tx:
            key = model.__table__.c.id
            tx.session.execute(update(model).where(key == ident).values(**values))

    def kinds(self) -> list[str]:
        """Kinds of all events, oldest first."""
        with self.ctx.uow.read() as tx:
            return list(tx.session.scalars(select(models.Event.kind).order_by(models.Event.seq)))

    def _poked(self, agents: frozenset[unit_of_work.Poke]) -> None:
        self.pokes.extend(sorted(agents))

    def _reload(self) -> None:
        self.reloads += 1

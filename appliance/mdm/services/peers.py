"""Asks every agent's control port once a second how it is: one breaker and one check for each.

Whether an agent counts as up is decided by its heartbeats alone (``reach``). What is found here
says why one does not answer, and heals what can be: an agent that answers but was not heard of
is poked.
"""

import logging
import threading
from concurrent import futures
from dataclasses import dataclass

from sqlalchemy import select

from appliance.common import errors
from appliance.domain import health
from appliance.mdm.db import models
from appliance.mdm.services import context, reach
from appliance.rest import breaker, checks, client

logger = logging.getLogger(__name__)

INTERVAL_S = 1.0

_TIMEOUT_S = 0.5
_THREADS = 8


@dataclass(slots=True)
class Peer:
    """One agent. ``told`` is what its /health last said."""

    role: str
    id: str
    name: str
    url: str
    breaker: breaker.Breaker
    client: client.Client
    told: str = ""
    check: checks.Checks | None = None


class Peers:
    """``run_once`` is called by one loop, and waits for all its calls; the rest by any thread."""

    def __init__(self, ctx: context.Context) -> None:
        self._ctx = ctx
        self._lock = threading.Lock()
        self._peers: dict[str, Peer] = {}
        self._threads = futures.ThreadPoolExecutor(_THREADS, thread_name_prefix="peer")

    def run_once(self) -> None:
        """Ask each agent that its breaker lets ask."""
        known = self._known()
        with self._lock:
            for ident in [ident for ident in self._peers if ident not in known]:
                self._peers.pop(ident).client.close()
            for ident, (role, name, url) in known.items():
                found = self._peers.get(ident)
                if found is None or found.url != url:
                    self._peers[ident] = self._made(role, ident, name, url)
                else:
                    found.name = name
            asked = list(self._peers.values())
        # Each check bounds its own call, so this ends.
        futures.wait([self._threads.submit(p.check.run_once) for p in asked if p.check])

    def get(self, ident: str) -> Peer | None:
        with self._lock:
            return self._peers.get(ident)

    def all(self) -> list[Peer]:
        with self._lock:
            return list(self._peers.values())

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        for peer in self.all():
            peer.client.close()

    def _known(self) -> dict[str, tuple[str, str, str]]:
        found = {}
        with self._ctx.uow.read() as tx:
            for role, model in (("sds", models.Sds), ("sdc", models.Sdc)):
                query = select(model.id, model.name, model.hosts, model.control_port)
                for ident, name, hosts, port in tx.session.execute(query):
                    if hosts:
                        found[ident] = (role, name, f"http://{hosts[0]}:{port}")
        return found

    def _made(self, role: str, ident: str, name: str, url: str) -> Peer:
        asking = client.Client([url], timeout_s=_TIMEOUT_S, user_agent="basalt-mdm")
        made = Peer(role, ident, name, url, breaker.Breaker(f"{role} {name}"), asking)
        check = checks.Check(
            f"{role} {name}", lambda: self._look(made), lambda: self._poke(made), "poke it"
        )
        made.check = checks.Checks([check], self._ctx.clock)
        return made

    def _look(self, peer: Peer) -> checks.Finding:
        try:
            told = peer.breaker.call(lambda: peer.client.get("/health"))
        except (errors.Unreachable, errors.Unavailable) as exc:
            peer.told = str(exc)
            return health.Health.DEGRADED, str(exc)  # a poke would not reach it either
        except errors.BasaltError as exc:
            return health.Health.UNKNOWN, f"its control port answers oddly: {exc}"
        peer.told = "; ".join(told.get("reasons", ())) if isinstance(told, dict) else ""
        if reach.agent(self._ctx, peer.id)[0] is health.Reach.DOWN:
            return health.Health.UNHEALTHY, f"it answers, but sends no heartbeat: {peer.told}"
        return health.Health.HEALTHY, ""

    def _poke(self, peer: Peer) -> None:
        peer.breaker.call(lambda: peer.client.post("/poke"))

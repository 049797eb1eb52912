"""Tells agents that there are new orders. A hint only: they ask every second anyway (§6).

After commits, never inside a transaction. An agent that does not take the hint at once is left
alone: nothing waits for it.
"""

import logging
import socket
import threading
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass
from urllib import parse

from sqlalchemy import select

from appliance.common import clock as clocks
from appliance.common import errors
from appliance.mdm.db import models, unit_of_work
from appliance.rest import client

logger = logging.getLogger(__name__)

_TIMEOUT_S = 0.5
_THREADS = 8

#: An address is read again after this long; who moved misses a hint till then.
_ADDRESS_S = 5.0

_Urls = tuple[str, ...]


@dataclass(slots=True)
class _Known:
    urls: _Urls
    client: client.Client
    until: float


class Poker:
    """Thread-safe. ``poke`` returns at once; at most one hint per agent is waiting."""

    def __init__(self, clock: clocks.Clock, refused: Callable[[str], None]) -> None:
        """``refused(id)`` is told of an agent at whose address nothing listens any more."""
        self._clock = clock
        self._refused = refused
        self._uow: unit_of_work.UnitOfWork | None = None
        self._threads = futures.ThreadPoolExecutor(_THREADS, thread_name_prefix="poke")
        self._lock = threading.Lock()
        self._waiting: set[unit_of_work.Poke] = set()
        self._clients: dict[unit_of_work.Poke, _Known] = {}
        self._closed = False

    def start(self, uow: unit_of_work.UnitOfWork) -> None:
        """Addresses are read through ``uow``; before this, pokes are dropped."""
        self._uow = uow

    def poke(self, agents: frozenset[unit_of_work.Poke]) -> None:
        """Ask each of ``agents`` to fetch its orders now."""
        with self._lock:
            if self._closed or self._uow is None:
                return
            new = agents - self._waiting
            self._waiting |= new
            for agent in new:
                self._threads.submit(self._one, agent)

    def close(self) -> None:
        """End; hints not yet given are dropped."""
        with self._lock:
            self._closed = True
        self._threads.shutdown(wait=True, cancel_futures=True)
        for known in self._clients.values():
            known.client.close()

    def _one(self, agent: unit_of_work.Poke) -> None:
        with self._lock:
            # From here on a further change needs a further hint.
            self._waiting.discard(agent)
        try:
            connection = self._client(agent)
            if connection is not None:
                connection.post("/poke", {})
        except errors.BasaltError as exc:
            logger.debug("poke_failed role=%s id=%s why=%s", *agent, exc)
            known = self._clients.get(agent)
            if known is not None and all(_refuses(url) for url in known.urls):
                self._refused(agent[1])
        except Exception:  # a bug here must not end the pool's thread unseen
            logger.exception("poke_crashed role=%s id=%s", *agent)

    def _client(self, agent: unit_of_work.Poke) -> client.Client | None:
        now = self._clock.monotonic()
        known = self._clients.get(agent)
        if known is not None and now < known.until:
            return known.client
        urls = self._urls(agent)
        if not urls:
            return None
        if known is not None and known.urls == urls:
            known.until = now + _ADDRESS_S
            return known.client
        fresh = client.Client(urls, timeout_s=_TIMEOUT_S, user_agent="basalt-mdm")
        self._clients[agent] = _Known(urls, fresh, now + _ADDRESS_S)
        if known is not None:
            known.client.close()
        return fresh

    def _urls(self, agent: unit_of_work.Poke) -> _Urls:
        kind, ident = agent
        model = models.Sds if kind == "sds" else models.Sdc
        assert self._uow is not None
        with self._uow.read() as tx:
            query = select(model.hosts, model.control_port).where(model.id == ident)
            row = tx.session.execute(query).first()
        if row is None:
            return ()
        return tuple(
            f"http://{f'[{host}]' if ':' in host else host}:{row.control_port}"
            for host in row.hosts
        )


def _refuses(url: str) -> bool:
    """Whether the host is there and says that nothing listens; silence says nothing."""
    address = parse.urlsplit(url)
    try:
        with socket.create_connection((address.hostname or "", address.port or 0), _TIMEOUT_S):
            return False
    except ConnectionRefusedError:
        return True
    except OSError:
        return False

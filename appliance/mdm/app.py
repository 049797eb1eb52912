"""The MDM's composition root: everything is wired here and nowhere else.

``Mdm`` owns the data folder, the database, the loops and the server of one MDM process. Called by
``__main__``; tests start and stop it in their own process.
"""

import contextlib
import logging

from appliance.common import clock as clocks
from appliance.common import daemon
from appliance.domain import health
from appliance.mdm import config, routes
from appliance.mdm.db import engine, migrate, unit_of_work
from appliance.mdm.loops import policies as policy_rounds
from appliance.mdm.loops import pruning, scrubs
from appliance.mdm.loops import relocation as relocation_rounds
from appliance.mdm.loops import turns as turn_rounds
from appliance.mdm.resources import guard
from appliance.mdm.services import (
    admission,
    auth,
    backup,
    clients,
    cluster,
    context,
    heartbeats,
    liveness,
    peers,
    poker,
    policies,
    reach,
    recovery,
    relocation,
    statistics,
    tokens,
    turns,
    upkeep,
)
from appliance.rest import app as rest_app
from appliance.rest import metrics, openapi, process, server

logger = logging.getLogger(__name__)

#: Agents that are not heard are taken for dead: people's requests do not keep theirs waiting.
_URGENT = ("/api/v1/agents/",)

#: Database connections beyond the server's threads: for the loops and the pokes.
_MORE_CONNECTIONS = 12


class Mdm:
    """A running MDM. Raises errors.Damaged, Conflict or BadConfig if it cannot start."""

    def __init__(self, settings: config.Config, clock: clocks.Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or clocks.SystemClock()
        with contextlib.ExitStack() as cleanup:
            self._start(cleanup)
            self._cleanup = cleanup.pop_all()

    def close(self) -> None:
        """Stop: no new request, running ones end, then everything else in reverse order."""
        self._cleanup.close()

    def _start(self, cleanup: contextlib.ExitStack) -> None:
        settings = self._settings
        process.prepare_folder(settings.data_dir)
        tokens.check_file_modes(settings.data_dir)
        cleanup.enter_context(backup.hold(settings.data_dir))
        url = engine.url_of(settings.data_dir, settings.database_url)
        database = engine.sqlite_path(url)
        if database is not None:
            engine.check(database)
        opened = engine.connect(url, settings.threads + _MORE_CONNECTIONS)
        cleanup.callback(opened.dispose)
        migrate.upgrade(opened)
        alive = liveness.Liveness()
        pokes = poker.Poker(self._clock, alive.refused)
        cleanup.callback(pokes.close)
        uow = unit_of_work.UnitOfWork(opened, self._clock, pokes.poke)
        self.cluster_id, self.term = cluster.begin_term(uow)
        tokens.ensure_files(uow, settings.data_dir)
        authenticator = auth.Authenticator(uow)
        authenticator.reload()
        self.context = context.Context(
            config=settings,
            clock=self._clock,
            uow=uow,
            liveness=alive,
            statistics=statistics.Statistics(),
            database_url=url,
            started=self._clock.monotonic(),
            tokens_changed=authenticator.reload,
        )
        pokes.start(uow)
        self._serve(cleanup, authenticator)

    def _serve(self, cleanup: contextlib.ExitStack, authenticator: auth.Authenticator) -> None:
        ctx, settings = self.context, self._settings
        open_turns = turns.Turns(self._clock, ctx.waits)
        of_clients = clients.Clients(ctx)
        pace = policies.Policies(ctx)
        admitted = admission.Admission(open_turns, ctx.clock)
        care = upkeep.Upkeep(open_turns, admitted, self._reach_of, of_clients, pace.apply)
        beats = heartbeats.Heartbeats(ctx, open_turns, care, of_clients)
        pace.plugins = beats.plugins
        held_recovery = recovery.Recovery(ctx, open_turns, care)
        rounds = turn_rounds.TurnRounds(ctx, open_turns, admitted, care, of_clients)
        self.loop = daemon.Loop("turns", turn_rounds.INTERVAL_S, rounds.run_once)
        moving = relocation_rounds.loop(relocation.Relocation(ctx, open_turns, care))
        pacing = policy_rounds.loop(pace)
        asked = peers.Peers(ctx)
        cleanup.callback(asked.close)
        times = metrics.RequestTimes()
        looking = daemon.Loop("peers", peers.INTERVAL_S, asked.run_once)
        for loop in (self.loop, moving, pacing, pruning.loop(ctx), scrubs.loop(ctx), looking):
            loop.start()
            cleanup.callback(loop.stop)
        application = rest_app.create(extra=[times, guard.Guard(authenticator)], quiet=routes.QUIET)
        table = routes.table(ctx, beats, held_recovery, asked, times, self._address)
        openapi.register(application, table)
        self.port = 0
        served = server.serve(
            application, settings.host, settings.port, settings.threads, urgent=_URGENT
        )
        cleanup.callback(served.close)
        self.port = served.port
        process.write_port(settings.port_file, served.port)
        logger.info("ready port=%d cluster=%s term=%d", served.port, self.cluster_id, self.term)

    def _reach_of(self, sds_id: str) -> health.Reach:
        return reach.agent(self.context, sds_id)[0]

    def _address(self) -> tuple[str, int]:
        return self._settings.host, self.port

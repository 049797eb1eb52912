"""MGMT's composition root: everything is wired here and nowhere else.

``Mgmt`` owns the data folder, the database, the loops and the server of one MGMT process. Called
by ``__main__``; tests start and stop it in their own process.
"""

import contextlib
import logging
from collections.abc import Callable

from appliance.common import clock as clocks
from appliance.common import daemon, errors
from appliance.mgmt import config, routes
from appliance.mgmt.alerts import rules, store, watch
from appliance.mgmt.db import database
from appliance.mgmt.delivery import channels, queue
from appliance.mgmt.pages import base, flash, guard, headers, problems, render, statics
from appliance.mgmt.services import (
    context,
    forecast,
    history,
    mdm,
    parts,
    passwords,
    poller,
    sessions,
    users,
    view,
)
from appliance.rest import app as rest_app
from appliance.rest import checks, metrics, openapi, process, server

logger = logging.getLogger(__name__)

#: Database connections beyond the server's threads: for the loops.
_MORE_CONNECTIONS = 6

_DELIVER_S = 1.0
_PRUNE_S = 3600.0
_DAY_S = 86400.0


class Mgmt:
    """A running MGMT. Raises errors.Damaged, Unavailable or BadConfig if it cannot start."""

    def __init__(self, settings: config.Config, clock: clocks.Clock | None = None) -> None:
        self._settings = settings
        self.port = 0
        self._clock = clock or clocks.SystemClock()
        with contextlib.ExitStack() as cleanup:
            self._start(cleanup)
            self._cleanup = cleanup.pop_all()

    def close(self) -> None:
        """Stop: no new request, running ones end, then everything else in reverse order."""
        self._cleanup.close()

    def _start(self, cleanup: contextlib.ExitStack) -> None:
        settings, clock = self._settings, self._clock
        process.prepare_folder(settings.data_dir)
        url = database.url_of(settings.data_dir, settings.database_url)
        db = database.Database(url, settings.threads + _MORE_CONNECTIONS, clock)
        cleanup.callback(db.close)
        hasher = passwords.Hasher(settings)
        users.ensure_first(db, hasher, settings.data_dir)
        rules.ensure(db)
        source = mdm.Mdm(settings)
        cleanup.callback(source.close)
        seen, past = view.View(), history.History()
        queued = queue.Queue(db, channels.send)
        looked = checks.Checks(parts.make(db, source, seen, queued, lambda: self.loop), clock)
        self.context = context.Context(
            config=settings,
            clock=clock,
            db=db,
            mdm=source,
            view=seen,
            history=past,
            hasher=hasher,
            sessions=sessions.Sessions(db, hasher, settings, clock),
            samples=forecast.Samples(db, seen),
            watch=watch.Watch(
                db, seen, clock, settings.certificates, queued.failed, looked.given_up
            ),
            queue=queued,
            checks=looked,
            times=metrics.RequestTimes(),
            started=clock.monotonic(),
            port=lambda: self.port,
        )
        asking = poller.Poller(source, seen, past, clock)
        self._loops(cleanup, asking)
        self._serve(cleanup)

    def _loops(self, cleanup: contextlib.ExitStack, asking: poller.Poller) -> None:
        ctx = self.context

        def poll() -> None:
            asking.run_once()
            ctx.watch.run_once()
            with contextlib.suppress(errors.Unavailable):  # told by the database's trouble
                ctx.samples.run_once()

        self.loop = daemon.Loop("poll", self._settings.poll_s, poll)
        for loop in (
            self.loop,
            daemon.Loop("checks", self._settings.check_s, ctx.checks.run_once),
            daemon.Loop("delivery", _DELIVER_S, lambda: _quietly(ctx.queue.run_once)),
            daemon.Loop("pruning", _PRUNE_S, lambda: _quietly(self._prune)),
        ):
            loop.start()
            cleanup.callback(loop.stop)

    def _prune(self) -> None:
        before = self._clock.wall() - self._settings.keep_days * _DAY_S
        ctx = self.context
        ctx.sessions.prune()
        store.prune(ctx.db, before)
        ctx.queue.prune(before)
        ctx.samples.prune(before)

    def _serve(self, cleanup: contextlib.ExitStack) -> None:
        ctx, settings = self.context, self._settings
        flashes = flash.Flash()
        renderer = render.Renderer(ctx, flashes)
        site = base.Site(ctx, renderer, flashes)
        entries = [*routes.pages(site), *routes.resources(ctx)]
        application = rest_app.create(
            extra=[
                ctx.times,
                headers.Headers(settings.behind_tls),
                problems.Problems(renderer),
                guard.Guard(ctx.sessions, routes.needed(entries)),
            ],
            quiet=(*routes.QUIET, statics.PATH),
        )
        application.req_options.auto_parse_form_urlencoded = False
        openapi.register(application, [_route(entry) for entry in entries])
        application.add_route(statics.PATH, statics.Statics())
        served = server.serve(application, settings.host, settings.port, settings.threads)
        cleanup.callback(served.close)
        self.port = served.port
        process.write_port(settings.port_file, served.port)
        logger.info("ready port=%d", served.port)


def _route(entry: routes.Entry) -> openapi.Route:
    if entry.route is not None:
        return entry.route
    return openapi.Route(entry.method, entry.path, entry.responder, "", "", "page")


def _quietly(body: Callable[[], None]) -> None:
    """Run what the next round does again anyway while the database cannot be written."""
    try:
        body()
    except errors.Unavailable as exc:
        logger.warning("put_off why=%s", exc)

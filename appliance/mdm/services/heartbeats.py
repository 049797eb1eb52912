"""What agents report, brought into the database; their orders go back.

A heartbeat without news writes nothing. News is applied in one write transaction, after which
each volume concerned is given to ``upkeep``. When the database refuses changes, agents still get
their orders and are asked to report everything again.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from appliance.common import errors
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import (
    clients,
    context,
    orders,
    report_order,
    sdc_reports,
    sds_reports,
    upkeep,
)
from appliance.mdm.services.turns import Turns
from appliance.protocol import messages

A = TypeVar("A", models.Sds, models.Sdc)

logger = logging.getLogger(__name__)


class Heartbeats:
    """Called by the agents' endpoints, from any thread."""

    def __init__(
        self,
        ctx: context.Context,
        turns: Turns,
        care: upkeep.Upkeep,
        of_clients: clients.Clients,
    ) -> None:
        self._ctx = ctx
        self._turns = turns
        self._upkeep = care
        self._of_sds = sds_reports.SdsReports(ctx, turns, care, of_clients)
        self._of_sdc = sdc_reports.SdcReports(turns, care, of_clients)
        self._lock = threading.Lock()
        self._sessions: dict[str, str] = {}
        self._order = report_order.ReportOrder()
        self.plugins = self._of_sdc.plugins

    def sds(self, sds_id: str, beat: messages.SdsHeartbeat) -> messages.SdsOrders:
        """Take an SDS's report; its orders since the revision it knows."""
        with self._ctx.liveness.heard(sds_id, self._ctx.clock):
            return self._take_sds(sds_id, beat)

    def _take_sds(self, sds_id: str, beat: messages.SdsHeartbeat) -> messages.SdsOrders:
        self._ctx.statistics.clock(sds_id, beat.clock, self._ctx.clock.wall())
        beat = replace(beat, devices=self._ctx.statistics.devices(sds_id, beat.devices))
        heard = True
        if self._of_sds.has_news(sds_id, beat):
            heard = self._write(
                f"sds:{sds_id}", lambda tx, touched: self._apply_sds(tx, sds_id, beat, touched)
            )
        with self._lock:
            known = self._sessions.get(sds_id) == beat.session
            if heard and beat.full:
                self._sessions[sds_id] = beat.session
                known = True
        with self._ctx.uow.read() as tx:
            found = orders.for_sds(tx, sds_id, beat.revision)
        return replace(found, report_all=not heard or not known)

    def _apply_sds(
        self, tx: unit_of_work.Tx, sds_id: str, beat: messages.SdsHeartbeat, touched: list[str]
    ) -> None:
        self._of_sds.apply(tx, self._agent(tx, models.Sds, sds_id, beat), beat, touched)

    def sdc(self, sdc_id: str, beat: messages.SdcHeartbeat) -> messages.SdcOrders:
        """Take a client's report; the orders for all its mappings."""
        with self._ctx.liveness.heard(sdc_id, self._ctx.clock):
            return self._take_sdc(sdc_id, beat)

    def _take_sdc(self, sdc_id: str, beat: messages.SdcHeartbeat) -> messages.SdcOrders:
        self._ctx.statistics.clock(sdc_id, beat.clock, self._ctx.clock.wall())
        self._ctx.statistics.heard(sdc_id, self._ctx.clock.wall(), beat.mappings)
        news = self._of_sdc.news(beat)

        def _apply(tx: unit_of_work.Tx, touched: list[str]) -> None:
            self._agent(tx, models.Sdc, sdc_id, beat)
            self._of_sdc.apply(tx, sdc_id, news, touched)

        if news and self._write(f"sdc:{sdc_id}", _apply):
            self._of_sdc.kept(news)
        with self._ctx.uow.read() as tx:
            return orders.for_sdc(tx, sdc_id)

    def _agent(
        self,
        tx: unit_of_work.Tx,
        model: type[A],
        ident: str,
        beat: messages.SdsHeartbeat | messages.SdcHeartbeat,
    ) -> A:
        """Who says ``beat``. Raises errors.StaleOrder if it is overtaken, errors.NotFound."""
        self._order.check(ident, beat.session, beat.sequence)
        row = tx.session.get(model, ident)
        if row is None:
            raise errors.NotFound(kind=model.__name__.upper(), key=ident)
        if (row.boot_id, row.version) != (beat.boot_id, beat.version):
            row.boot_id, row.version = beat.boot_id, beat.version
        return row

    def _write(self, actor: str, apply: Callable[[unit_of_work.Tx, list[str]], None]) -> bool:
        """Apply a report and look after the volumes concerned. False if nothing can be written.

        ``apply(tx, touched)`` adds a volume to ``touched`` before it tells memory anything of it.
        """
        touched: list[str] = []
        try:
            with self._turns.true_if_kept(touched), self._ctx.uow.write(actor, urgent=True) as tx:
                apply(tx, touched)
                self._upkeep.consider_all(tx, touched)
        except errors.Unavailable as exc:
            logger.warning("report_not_kept agent=%s why=%s", actor, exc)
            return False
        return True

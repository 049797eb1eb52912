"""What agents report, brought into the database; their orders go back.

A heartbeat without news writes nothing. News is applied in one write transaction, after which
each volume concerned is given to ``upkeep``. When the database refuses changes, agents still get
their orders and are asked to report everything again.
"""

import logging
import secrets
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from sqlalchemy import select

from appliance.common import errors
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import (
    clients,
    context,
    devices,
    jobs,
    moves,
    orders,
    proof,
    report_order,
    scrubs,
    upkeep,
    volumes,
)
from appliance.mdm.services.turns import Turns
from appliance.protocol import messages

A = TypeVar("A", models.Sds, models.Sdc)

logger = logging.getLogger(__name__)

#: A change of a device's free space alone is written this often at most. Seconds.
_SPACE_INTERVAL_S = 5.0


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
        self._clients = of_clients
        self._lock = threading.Lock()
        self._sessions: dict[str, str] = {}
        self._order = report_order.ReportOrder()
        self._devices: dict[str, tuple[float, tuple[messages.DeviceReport, ...]]] = {}
        self._mappings: dict[str, messages.MappingReport] = {}
        #: by volume: a generation, and of each device what is copied and what there is to copy
        self._copied: dict[str, tuple[int, dict[str, tuple[int, int]]]] = {}
        #: newest status of each incarnation, for statistics
        self.plugins: dict[str, messages.PluginStatus] = {}

    # --- SDS --------------------------------------------------------------------------

    def sds(self, sds_id: str, beat: messages.SdsHeartbeat) -> messages.SdsOrders:
        """Take an SDS's report; its orders since the revision it knows."""
        self._ctx.liveness.seen("sds", sds_id, self._ctx.clock.monotonic())
        self._ctx.statistics.clock(sds_id, beat.clock, self._ctx.clock.wall())
        beat = replace(beat, devices=self._ctx.statistics.devices(sds_id, beat.devices))
        heard = True
        if self._sds_has_news(sds_id, beat):
            heard = self._write(f"sds:{sds_id}", lambda tx: self._apply_sds(tx, sds_id, beat))
        with self._lock:
            known = self._sessions.get(sds_id) == beat.session
            if heard and beat.full:
                self._sessions[sds_id] = beat.session
                known = True
        with self._ctx.uow.read() as tx:
            found = orders.for_sds(tx, sds_id, beat.revision)
        return replace(found, report_all=not heard or not known)

    def _sds_has_news(self, sds_id: str, beat: messages.SdsHeartbeat) -> bool:
        if beat.legs or beat.full:
            return True
        at, known = self._devices.get(sds_id, (float("-inf"), ()))
        if known == beat.devices:
            return False
        spaceless = [replace(d, free_bytes=0) for d in known]
        if spaceless != [replace(d, free_bytes=0) for d in beat.devices]:
            return True
        return self._ctx.clock.monotonic() - at >= _SPACE_INTERVAL_S

    def _apply_sds(
        self, tx: unit_of_work.Tx, sds_id: str, beat: messages.SdsHeartbeat
    ) -> list[str]:
        sds = self._agent(tx, models.Sds, sds_id, beat)
        self._apply_devices(tx, sds_id, beat.devices)
        self._devices[sds_id] = (self._ctx.clock.monotonic(), beat.devices)
        own = set(
            tx.session.scalars(select(models.Device.id).where(models.Device.sds_id == sds_id))
        )
        by_volume: dict[str, list[messages.LegReport]] = {}
        for report in beat.legs:
            if report.device_id in own:
                by_volume.setdefault(report.volume_id, []).append(report)
        found = {volume.id: volume for volume in orders.load_volumes(tx, by_volume)}
        for volume_id, reports in by_volume.items():
            if volume_id in found:
                self._apply_legs(tx, found[volume_id], reports)
            else:
                logger.warning("unknown_volume_reported sds=%s volume=%s", sds.name, volume_id)
        return list(found)

    def _apply_devices(
        self, tx: unit_of_work.Tx, sds_id: str, reports: tuple[messages.DeviceReport, ...]
    ) -> None:
        told = {report.device_id: report for report in reports}
        rows = tx.session.scalars(select(models.Device).where(models.Device.sds_id == sds_id))
        for row in list(rows):
            report = told.get(row.id)
            if report is None:
                if row.state == "removing" and self._devices.get(sds_id):
                    devices.given_back(tx, row)
                continue
            limit = row.limit_bytes or report.capacity_bytes
            row.capacity_bytes = min(report.capacity_bytes, limit)
            row.free_bytes = report.free_bytes
            if report.path and row.path != report.path:
                row.path = report.path  # a recovered database may not have known it
            # A failed device comes back only as a new one (R5).
            if row.state in ("removing", "failed") or row.state == report.state:
                continue
            row.state, row.reason = report.state, report.reason
            tx.event(
                f"device_{report.state}",
                "device",
                row.id,
                row.path,
                reason=report.reason,
                sds=sds_id,
            )

    def _apply_legs(
        self, tx: unit_of_work.Tx, volume: models.Volume, reports: Iterable[messages.LegReport]
    ) -> None:
        rows = {leg.device_id: leg for leg in volume.legs}
        for report in reports:
            leg = rows.get(report.device_id)
            if leg is None:
                continue
            self._upkeep.heard.note(volume.id, report.device_id)
            if leg.deleting:
                if report.deleted:
                    volumes.leg_gone(tx, leg)
                continue
            if not report.deleted:
                self._apply_leg(tx, volume, leg, report)

    def _apply_leg(
        self,
        tx: unit_of_work.Tx,
        volume: models.Volume,
        leg: models.VolumeLeg,
        report: messages.LegReport,
    ) -> None:
        leg.size, leg.used_bytes = report.size, report.used_bytes
        leg.error, leg.synced = report.error, list(report.synced)
        if report.allocated and not leg.allocated:
            leg.allocated = True
            volumes.allocated(tx, volume)
        if report.generation != volume.generation:
            leg.serving = False
            if report.generation > volume.generation:
                proof.contradicted(volume, leg, report.generation)
            return
        if 0 < leg.created < report.created:
            self._emptied(tx, volume, leg)
        leg.created = report.created
        before = (leg.generation, leg.serving)
        leg.generation, leg.serving = report.generation, report.serving
        leg.port, leg.socket, leg.data_export = report.port, report.socket, report.data_export
        leg.sums_export = report.sums_export
        leg.intents = dict(report.intents)
        if before != (leg.generation, leg.serving):
            logger.info(
                "leg volume=%s device=%s generation=%d serving=%s",
                volume.name,
                leg.device_id,
                leg.generation,
                leg.serving,
            )
        self._apply_seal(volume, leg, report)
        if report.scrub is not None and report.scrub.generation == volume.generation:
            for device_id in scrubs.reported(tx, volume, report.scrub):
                _fail_device(tx, device_id, "it could not read its own bytes")
        if report.copy is not None and report.copy.generation == volume.generation:
            self._apply_copy(tx, volume, leg, report.copy)

    def _apply_seal(
        self, volume: models.Volume, leg: models.VolumeLeg, report: messages.LegReport
    ) -> None:
        found = self._turns.get(volume.id)
        if found is None or found.turn.generation != report.generation or report.error:
            return
        if not report.serving or not found.incarnations <= set(report.intents):
            return
        if found.turn.doubt and not report.flushed:
            return
        if leg.device_id in orders.emptied(volume):
            return
        lost = bool(leg.cache_id) and leg.cache_id != report.cache_id
        self._turns.sealed(volume.id, leg.device_id, report.cache_id, lost)

    def _apply_copy(
        self,
        tx: unit_of_work.Tx,
        volume: models.Volume,
        leg: models.VolumeLeg,
        copy: messages.CopyReport,
    ) -> None:
        # A report made before a turn that is now going on counts for nothing (R8).
        if volume.turn_open or not leg.serving:
            return
        moves.progress(volume, leg.device_id, copy)
        self._note_resync(tx, volume, leg, copy)
        self._clients.held_up(tx, volume, leg.device_id, copy.waiting_for)
        syncing = any(
            r.device_id == leg.device_id and r.state == "syncing" for r in volume.replicas
        )
        if copy.done and syncing:
            self._upkeep.copy_done(tx, volume, leg.device_id)

    def _note_resync(
        self,
        tx: unit_of_work.Tx,
        volume: models.Volume,
        leg: models.VolumeLeg,
        copy: messages.CopyReport,
    ) -> None:
        if not upkeep.resyncing(volume, leg.device_id):
            return
        generation, parts = self._copied.get(volume.id, (0, {}))
        if generation != volume.generation:
            parts = {}
        parts[leg.device_id] = copy.copied_bytes, copy.total_bytes
        self._copied[volume.id] = volume.generation, parts
        done, total = (sum(part) for part in zip(*parts.values(), strict=True))
        jobs.progress(tx, "resync", volume.id, done, copy.error or copy.waiting, total)

    def _emptied(self, tx: unit_of_work.Tx, volume: models.Volume, leg: models.VolumeLeg) -> None:
        """The files of a leg were made anew, all zeroes: nothing in them may be read any more."""
        for replica in volume.replicas:
            if replica.device_id == leg.device_id:
                replica.full_copy = True
        tx.event("replica_files_lost", "volume", volume.id, volume.name, device=leg.device_id)
        logger.error("replica_files_lost volume=%s device=%s", volume.name, leg.device_id)

    # --- SDC --------------------------------------------------------------------------

    def sdc(self, sdc_id: str, beat: messages.SdcHeartbeat) -> messages.SdcOrders:
        """Take a client's report; the orders for all its mappings."""
        self._ctx.liveness.seen("sdc", sdc_id, self._ctx.clock.monotonic())
        self._ctx.statistics.clock(sdc_id, beat.clock, self._ctx.clock.wall())
        self._ctx.statistics.heard(sdc_id, self._ctx.clock.wall(), beat.mappings)
        news = [report for report in beat.mappings if self._is_news(report)]
        if news and self._write(
            f"sdc:{sdc_id}", lambda tx: self._apply_sdc(tx, sdc_id, beat, news)
        ):
            for report in news:
                self._mappings[report.mapping_id] = _without_stats(report)
        with self._ctx.uow.read() as tx:
            return orders.for_sdc(tx, sdc_id)

    def _is_news(self, report: messages.MappingReport) -> bool:
        if report.plugin is not None:
            self.plugins[report.plugin.incarnation] = report.plugin
        return self._mappings.get(report.mapping_id) != _without_stats(report)

    def _apply_sdc(
        self,
        tx: unit_of_work.Tx,
        sdc_id: str,
        beat: messages.SdcHeartbeat,
        news: list[messages.MappingReport],
    ) -> list[str]:
        self._agent(tx, models.Sdc, sdc_id, beat)
        touched = []
        for report in news:
            mapping = tx.session.get(models.Mapping, report.mapping_id)
            if mapping is None or mapping.sdc_id != sdc_id:
                continue
            volume = orders.load_volumes(tx, [mapping.volume_id])[0]
            self._apply_mapping(tx, volume, mapping, report)
            touched.append(volume.id)
        return touched

    def _apply_mapping(
        self,
        tx: unit_of_work.Tx,
        volume: models.Volume,
        mapping: models.Mapping,
        report: messages.MappingReport,
    ) -> None:
        self._apply_incarnations(tx, volume, mapping, report)
        plugin = report.plugin
        self._clients.reached(volume.id, report.incarnation, report.reached)
        if plugin is not None:
            self._turns.left(volume.id, plugin.incarnation, plugin.left)
            self._upkeep.blame(volume.id, plugin.generation, plugin)
            for device_id in plugin.failed:
                _fail_device(tx, device_id, "a client's flush or write to it failed")
        mapping.used_backend, mapping.backend_reason = report.backend, report.backend_reason
        mapping.device, mapping.link, mapping.uri = report.device, report.link, report.uri
        mapping.device_size = report.device_size
        mapping.error = report.error or (plugin.waiting if plugin is not None else "")
        state = {"starting": "attaching"}.get(report.state, report.state)
        if report.state == "detached" and not mapping.wanted:
            tx.event("unmapped", "volume", volume.id, volume.name, sdc=mapping.sdc_id)
            volume.mappings.remove(mapping)
            tx.session.flush()
            return
        if not mapping.wanted:
            state = "detaching"
        elif report.state == "detached":
            state = "attaching"
        if mapping.state != state:
            mapping.state = state
            tx.event(
                f"mapping_{state}", "volume", volume.id, volume.name, device=report.device,
                sdc=mapping.sdc_id, error=mapping.error,
            )  # fmt: skip

    def _apply_incarnations(
        self,
        tx: unit_of_work.Tx,
        volume: models.Volume,
        mapping: models.Mapping,
        report: messages.MappingReport,
    ) -> None:
        """Each start of a plugin is an incarnation; one that did not end cleanly is in doubt."""
        known = {i.id: i for i in volume.incarnations if i.mapping_id == mapping.id}
        plugin = report.plugin
        if plugin is not None and plugin.ended and plugin.incarnation in known:
            ended = known[plugin.incarnation]
            if ended.state == "live":
                ended.state = "clean" if plugin.clean else "doubt"
        current = report.incarnation if report.state != "detached" else ""
        for incarnation in known.values():
            if incarnation.state == "live" and incarnation.id != current:
                incarnation.state = "doubt"
        over = plugin is not None and plugin.incarnation == current and bool(plugin.ended)
        # Its intent file may be gone already: one that is over never comes back (R7).
        over = over or current == mapping.cut_off
        if current and current not in known and mapping.wanted and not over:
            volume.incarnations.append(
                models.Incarnation(
                    id=current,
                    mapping_id=mapping.id,
                    sdc_id=mapping.sdc_id,
                    state="live",
                    lock_token=secrets.token_hex(16),
                    created_at=tx.now,
                )
            )
        tx.session.flush()

    # --- both -------------------------------------------------------------------------

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

    def _write(self, actor: str, apply: Callable[[unit_of_work.Tx], list[str]]) -> bool:
        """Apply a report and look after the volumes concerned. False if nothing can be written."""
        touched: list[str] = []
        try:
            with self._turns.true_if_kept(touched), self._ctx.uow.write(actor) as tx:
                touched.extend(apply(tx))
                self._upkeep.consider_all(tx, touched)
        except errors.Unavailable as exc:
            logger.warning("report_not_kept agent=%s why=%s", actor, exc)
            return False
        return True


def _without_stats(report: messages.MappingReport) -> messages.MappingReport:
    if report.plugin is None:
        return report
    return replace(report, plugin=replace(report.plugin, stats=messages.IoStats()))


def _fail_device(tx: unit_of_work.Tx, device_id: str, reason: str) -> None:
    row = tx.session.get(models.Device, device_id)
    if row is not None and row.state == "ok":
        row.state, row.reason = "failed", reason
        tx.event("device_failed", "device", row.id, row.path, reason=reason, sds=row.sds_id)

"""What an SDS reports, brought into the database: its devices, its legs, their seals and copies."""

import logging
from collections.abc import Iterable
from dataclasses import replace

from sqlalchemy import select

from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import (
    clients,
    context,
    devices,
    jobs,
    moves,
    orders,
    proof,
    scrubs,
    upkeep,
    volumes,
)
from appliance.mdm.services.turns import Turns
from appliance.protocol import messages

logger = logging.getLogger(__name__)

#: A change of a device's free space alone is written this often at most. Seconds.
_SPACE_INTERVAL_S = 5.0


class SdsReports:
    """One per MDM; called in the write transaction of a heartbeat."""

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
        self._devices: dict[str, tuple[float, tuple[messages.DeviceReport, ...]]] = {}
        #: by volume: a generation, and of each device what is copied and what there is to copy
        self._copied: dict[str, tuple[int, dict[str, tuple[int, int]]]] = {}

    def has_news(self, sds_id: str, beat: messages.SdsHeartbeat) -> bool:
        """Whether ``beat`` says anything to be kept."""
        if beat.legs or beat.full:
            return True
        at, known = self._devices.get(sds_id, (float("-inf"), ()))
        if known == beat.devices:
            return False
        spaceless = [replace(d, free_bytes=0) for d in known]
        if spaceless != [replace(d, free_bytes=0) for d in beat.devices]:
            return True
        return self._ctx.clock.monotonic() - at >= _SPACE_INTERVAL_S

    def apply(
        self,
        tx: unit_of_work.Tx,
        sds: models.Sds,
        beat: messages.SdsHeartbeat,
        touched: list[str],
    ) -> None:
        """Bring the report into the database; ``touched`` gets the ids of volumes, each before
        memory is told anything of it."""
        sds_id = sds.id
        self._apply_devices(tx, sds_id, beat.devices)
        told = (self._ctx.clock.monotonic(), beat.devices)
        tx.after_commit(lambda: self._devices.update({sds_id: told}))
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
                touched.append(volume_id)
                self._apply_legs(tx, found[volume_id], reports)
            else:
                logger.warning("unknown_volume_reported sds=%s volume=%s", sds.name, volume_id)

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
                devices.fail(tx, device_id, "it could not read its own bytes")
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

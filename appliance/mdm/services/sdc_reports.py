"""What an SDC reports, brought into the database: its mappings and the incarnations of each."""

import secrets
from dataclasses import replace

from sqlalchemy import select

from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import clients, devices, orders, upkeep
from appliance.mdm.services.turns import Turns
from appliance.protocol import messages


class SdcReports:
    """One per MDM; ``apply`` is called in the write transaction of a heartbeat."""

    def __init__(self, turns: Turns, care: upkeep.Upkeep, of_clients: clients.Clients) -> None:
        self._turns = turns
        self._upkeep = care
        self._clients = of_clients
        self._kept: dict[str, messages.MappingReport] = {}
        #: newest status of each incarnation, for statistics
        self.plugins: dict[str, messages.PluginStatus] = {}

    def news(self, beat: messages.SdcHeartbeat) -> list[messages.MappingReport]:
        """The mappings of which ``beat`` says something to be kept."""
        return [report for report in beat.mappings if self._is_news(report)]

    def _is_news(self, report: messages.MappingReport) -> bool:
        if report.plugin is not None:
            self.plugins[report.plugin.incarnation] = report.plugin
        return self._kept.get(report.mapping_id) != _without_stats(report)

    def kept(self, news: list[messages.MappingReport]) -> None:
        """These are in the database for good."""
        for report in news:
            self._kept[report.mapping_id] = _without_stats(report)

    def apply(
        self,
        tx: unit_of_work.Tx,
        sdc_id: str,
        news: list[messages.MappingReport],
        touched: list[str],
    ) -> None:
        """Bring the reports into the database; ``touched`` gets the ids of volumes, each before
        memory is told anything of it."""
        mappings = {
            mapping.id: mapping
            for mapping in tx.session.scalars(
                select(models.Mapping).where(
                    models.Mapping.sdc_id == sdc_id,
                    models.Mapping.id.in_([report.mapping_id for report in news]),
                )
            )
        }
        ids = {mapping.volume_id for mapping in mappings.values()}
        volumes = {volume.id: volume for volume in orders.load_volumes(tx, ids)}
        for report in news:
            mapping = mappings.get(report.mapping_id)
            if mapping is None:
                continue
            volume = volumes[mapping.volume_id]
            touched.append(volume.id)
            self._apply_mapping(tx, volume, mapping, report)

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
                devices.fail(tx, device_id, "a client's flush or write to it failed")
        mapping.used_backend, mapping.backend_reason = report.backend, report.backend_reason
        mapping.device, mapping.link, mapping.uri = report.device, report.link, report.uri
        mapping.device_size = report.device_size
        mapping.error = report.error
        if not report.error and plugin is not None and mapping.wanted:
            # Who unmaps waits for it, as for any I/O: what keeps the device is something else.
            mapping.error = plugin.waiting
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


def _without_stats(report: messages.MappingReport) -> messages.MappingReport:
    if report.plugin is None:
        return report
    return replace(report, plugin=replace(report.plugin, stats=messages.IoStats()))

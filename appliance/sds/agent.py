"""The SDS agent's loop: what is new of devices and legs goes up, orders come down, each to whom it
concerns."""

import logging

from appliance.agent import identity, registration, talk
from appliance.common import clock, errors, release
from appliance.protocol import messages
from appliance.sds import config, devices, legs, registry

logger = logging.getLogger(__name__)


class Agent(talk.Talk):
    """See ``agent.talk``. A leg is in a heartbeat when it changed, all when the MDM asks."""

    role: identity.Role = "sds"

    def __init__(
        self,
        settings: config.Config,
        store: registry.Registry,
        held_devices: devices.Devices,
        held_legs: legs.Legs,
        boot_id: str,
        time: clock.Clock,
    ) -> None:
        super().__init__(settings, store, boot_id)
        self._settings = settings
        self._devices = held_devices
        self._legs = held_legs
        self._time = time
        self._revision = 0
        self._full = True
        self._told: dict[legs.Key, messages.LegReport] = {}
        self._measured_at = 0.0
        self._tried_at = 0.0

    def _words(self) -> messages.Registration:
        return registration.words(
            self._settings, self.control_port, self._settings.domain, self._settings.fault_set
        )

    def _turn(self) -> None:
        self._look()
        self._take(self._told_and_ordered())

    def _look(self) -> None:
        self._devices.refresh()
        now = self._time.monotonic()
        measure = now - self._measured_at >= self._settings.usage_s
        if measure:
            self._measured_at = now
        # Each try of a leg wakes the loop: what fails must not keep it, and the MDM, turning.
        again = now - self._tried_at >= self._settings.poll_s / 2
        if again:
            self._tried_at = now
        self._legs.tick(measure, again)

    def _told_and_ordered(self) -> messages.SdsOrders:
        reports = self._legs.reports()
        full = self._full
        news = {
            key: report
            for key, report in reports.items()
            if full or ((told := self._told.get(key)) is not report and told != report)
        }
        heartbeat = messages.SdsHeartbeat(
            session=self._session,
            boot_id=self._boot_id,
            revision=self._revision,
            full=full,
            devices=self._devices.reports(),
            legs=tuple(news.values()),
            version=release.VERSION,
            sequence=next(self._sequence),
            clock=self._time.wall(),
        )
        orders = self._exchange(heartbeat, messages.SdsOrders)
        # Only what was answered counts as told; told twice is no harm.
        self._told = reports
        self._full = False
        self._legs.forget(key for key, report in news.items() if report.deleted)
        return orders

    def _take(self, orders: messages.SdsOrders) -> None:
        # A new MDM's count of revisions may be another: ask for everything.
        again = self._new_term(orders) and self._revision > 0
        self._full = again or orders.report_all
        self._devices.apply(orders.devices)
        for order in orders.legs:
            try:
                self._legs.submit(order)
            except errors.Invalid as exc:
                logger.error("order_refused volume=%r why=%s", order.volume_id, exc)
        self._revision = 0 if again else orders.revision

"""The SDS agent's loop: heartbeat up, orders down, and each order to whom it concerns.

``run_once`` is called by one common.daemon.Loop, every second and at once when there is news.
An MDM that does not answer changes nothing: what is served stays served.
"""

import itertools
import logging
import secrets

from appliance.common import clock, errors
from appliance.protocol import codec, messages
from appliance.rest import client
from appliance.sds import config, devices, legs, registration, registry

logger = logging.getLogger(__name__)


class Agent:
    """``trouble`` is why the MDM was not heard at the last try, empty if it was;
    ``control_port`` is what it is told, set before the first ``run_once``."""

    def __init__(
        self,
        settings: config.Config,
        store: registry.Registry,
        held_devices: devices.Devices,
        held_legs: legs.Legs,
        boot_id: str,
        time: clock.Clock,
    ) -> None:
        self._settings = settings
        self._store = store
        self._devices = held_devices
        self._legs = held_legs
        self._boot_id = boot_id
        self._time = time
        self._session = secrets.token_hex(8)
        self._sequence = itertools.count(1)
        self._client: client.Client | None = None
        self._revision = 0
        self._full = True
        self._told: dict[legs.Key, messages.LegReport] = {}
        self._measured_at = 0.0
        self.trouble = "not registered yet"
        self.control_port = settings.control_port

    @property
    def registered(self) -> bool:
        return self._client is not None

    def run_once(self) -> None:
        """Look at the devices, tell the MDM what is new, and pass on what it orders."""
        try:
            if self._client is None:
                self._client = self._registered()
            self._look()
            orders = self._exchange(self._client)
            self._take(orders)
        except errors.BasaltError as exc:
            if self.trouble != str(exc):
                logger.warning("no_orders code=%s why=%s", exc.code, exc)
            self.trouble = str(exc)
            return
        if self.trouble:
            logger.info("orders_again revision=%d term=%d", self._revision, self._store.term)
        self.trouble = ""

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def _registered(self) -> client.Client:
        try:
            registration.register(self._settings, self.control_port, self._store)
        except (errors.BadConfig, errors.Unauthenticated, errors.Forbidden) as exc:
            # The join token may be gone by now; the secret still opens the door.
            if self._store.identity is None:
                raise
            logger.warning("not_announced why=%s", exc)
        identity = self._store.identity
        if identity is None:
            raise errors.Unavailable(why="registration gave no identity")
        return client.Client(self._settings.mdm, identity.secret, user_agent="basalt-sds")

    def _look(self) -> None:
        self._devices.refresh()
        now = self._time.monotonic()
        measure = now - self._measured_at >= self._settings.usage_s
        if measure:
            self._measured_at = now
        self._legs.tick(measure)

    def _exchange(self, caller: client.Client) -> messages.SdsOrders:
        identity = self._store.identity
        if identity is None:
            raise errors.Unavailable(why="not registered")
        reports = self._legs.reports()
        full = self._full
        news = {
            key: report for key, report in reports.items() if full or self._told.get(key) != report
        }
        heartbeat = messages.SdsHeartbeat(
            session=self._session,
            boot_id=self._boot_id,
            revision=self._revision,
            full=full,
            devices=self._devices.reports(),
            legs=tuple(news.values()),
            version=registration.version(),
            sequence=next(self._sequence),
        )
        path = f"/api/v1/agents/sds/{identity.id}/heartbeat"
        answer = caller.post(path, codec.to_json(heartbeat))
        # Only what was answered counts as told.
        self._told = reports
        self._full = False
        self._legs.forget(key for key, report in news.items() if report.deleted)
        return codec.from_json(messages.SdsOrders, answer)

    def _take(self, orders: messages.SdsOrders) -> None:
        identity = self._store.identity
        if identity is None or orders.cluster_id != identity.cluster_id:
            raise errors.Conflict(why=f"orders of another cluster ({orders.cluster_id}); refused")
        if orders.term < self._store.term:
            raise errors.StaleOrder(what="term", got=orders.term, have=self._store.term)
        again = False
        if orders.term > self._store.term:
            self._store.save_term(orders.term)
            logger.info("term term=%d", orders.term)
            # A new MDM, whose count of revisions may be another: ask for everything.
            again = self._revision > 0
        self._full = again or orders.report_all
        self._devices.apply(orders.devices)
        for order in orders.legs:
            try:
                self._legs.submit(order)
            except errors.Invalid as exc:
                logger.error("order_refused volume=%r why=%s", order.volume_id, exc)
        self._revision = 0 if again else orders.revision

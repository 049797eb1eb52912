"""The SDC agent's loop: heartbeat up, orders down. One common.daemon.Loop calls ``run_once``
every second, and at once when there is news or the MDM poked.

An MDM that does not answer changes nothing: volumes stay attached and I/O goes on.
"""

import itertools
import logging
import secrets

from appliance.common import errors
from appliance.protocol import codec, messages
from appliance.rest import client
from appliance.sdc import config, identity, mappings, registration

logger = logging.getLogger(__name__)


class Agent:
    """``trouble`` is why the MDM was not heard at the last try, empty if it was;
    ``control_port`` is what it is told, set before the first ``run_once``."""

    def __init__(
        self, cfg: config.Config, store: identity.Store, held: mappings.Mappings, boot_id: str
    ) -> None:
        self._cfg = cfg
        self._store = store
        self._mappings = held
        self._boot_id = boot_id
        self._session = secrets.token_hex(8)
        self._sequence = itertools.count(1)
        self._client: client.Client | None = None
        self.trouble = "not registered yet"
        self.control_port = cfg.control_port

    @property
    def registered(self) -> bool:
        return self._client is not None

    def run_once(self) -> None:
        """Tell the MDM how every mapping is, and pass on what it orders."""
        try:
            if self._client is None:
                self._client = self._registered()
            self._take(self._exchange(self._client))
        except errors.BasaltError as exc:
            if self.trouble != str(exc):
                logger.warning("no_orders code=%s why=%s", exc.code, exc)
            self.trouble = str(exc)
            return
        if self.trouble:
            logger.info("orders_again term=%d", self._store.term)
        self.trouble = ""

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def _registered(self) -> client.Client:
        try:
            registration.register(self._cfg, self.control_port, self._store)
        except (errors.BadConfig, errors.Unauthenticated, errors.Forbidden) as exc:
            # The join token may be gone by now; the secret still opens the door.
            if self._store.identity is None:
                raise
            logger.warning("not_announced why=%s", exc)
        return client.Client(self._cfg.mdm, self._identity.secret, user_agent="basalt-sdc")

    @property
    def _identity(self) -> identity.Identity:
        if self._store.identity is None:
            raise errors.Unavailable(why="registration gave no identity")
        return self._store.identity

    def _exchange(self, caller: client.Client) -> messages.SdcOrders:
        heartbeat = messages.SdcHeartbeat(
            session=self._session,
            boot_id=self._boot_id,
            full=True,
            mappings=self._mappings.reports(),
            version=registration.version(),
            sequence=next(self._sequence),
        )
        path = f"/api/v1/agents/sdc/{self._identity.id}/heartbeat"
        return codec.from_json(messages.SdcOrders, caller.post(path, codec.to_json(heartbeat)))

    def _take(self, orders: messages.SdcOrders) -> None:
        if orders.cluster_id != self._identity.cluster_id:
            raise errors.Conflict(why=f"orders of another cluster ({orders.cluster_id}); refused")
        if orders.term < self._store.term:
            raise errors.StaleOrder(what="term", got=orders.term, have=self._store.term)
        if orders.term > self._store.term:
            self._store.save_term(orders.term)
            logger.info("term term=%d", orders.term)
        self._mappings.apply(orders.mappings)

"""An agent's talk with the MDM: heartbeat up, orders down, again and again.

``run_once`` is called by one common.daemon.Loop, every second and at once when there is news or
the MDM poked. An MDM that does not answer changes nothing: what is served stays served, what is
attached stays attached, and I/O goes on.
"""

import abc
import itertools
import logging
import secrets
from typing import Any, TypeVar

from appliance.agent import identity, registration
from appliance.common import errors
from appliance.protocol import codec, messages
from appliance.rest import client

logger = logging.getLogger(__name__)

#: How often it registers again, without an answer to a heartbeat in between.
HEAL_LIMIT = 5

T = TypeVar("T", messages.SdsOrders, messages.SdcOrders)


class Talk(abc.ABC):
    """``trouble`` is why the MDM was not heard at the last try, empty if it was;
    ``control_port`` is what it is told, set before the first ``run_once``."""

    role: identity.Role

    def __init__(
        self, settings: registration.Settings, store: identity.Store, boot_id: str
    ) -> None:
        self._reach = settings
        self._store = store
        self._boot_id = boot_id
        self._session = secrets.token_hex(8)
        self._sequence = itertools.count(1)
        self._client: client.Client | None = None
        self._unannounced = ""
        self.trouble = "not registered yet"
        self.heal_attempts = 0
        self.control_port = settings.control_port

    @property
    def registered(self) -> bool:
        return self._client is not None

    def run_once(self) -> None:
        """Tell the MDM what is new, and pass on what it orders."""
        try:
            if self._client is None:
                self._client = self._registered()
            self._turn()
        except errors.BasaltError as exc:
            if self.trouble != str(exc):
                logger.warning("no_orders code=%s why=%s", exc.code, exc)
            self.trouble = str(exc)
            self._heal(exc)
            return
        if self.trouble:
            self.heal_attempts = 0
            logger.info("orders_again term=%d", self._store.term)
        self.trouble = ""

    def _heal(self, error: errors.BasaltError) -> None:
        """Register again, a few times, when the MDM does not know the secret any more: its database
        may be a recovered one, which gives agents that register again their places back."""
        if not isinstance(error, errors.Unauthenticated) or self._client is None:
            return
        if self.heal_attempts > HEAL_LIMIT:
            return
        self.heal_attempts += 1
        if self.heal_attempts > HEAL_LIMIT:
            logger.error("secret_lost attempts=%d hint=start this agent anew", HEAL_LIMIT)
            return
        logger.warning("registering_again try=%d of=%d", self.heal_attempts, HEAL_LIMIT)
        self._client.close()
        self._client = None

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    @abc.abstractmethod
    def _words(self) -> messages.Registration:
        """What it registers with."""

    @abc.abstractmethod
    def _turn(self) -> None:
        """One ``_exchange``, and what it brought. Raises BasaltError; it is then tried again."""

    def _exchange(self, heartbeat: Any, orders: type[T]) -> T:
        """Send ``heartbeat``; the orders in the answer, of this cluster and no older term (R10)."""
        me = self._identity
        assert self._client is not None
        path = f"/api/v1/agents/{self.role}/{me.id}/heartbeat"
        got = codec.from_json(orders, self._client.post(path, codec.to_json(heartbeat)))
        if got.cluster_id != me.cluster_id:
            raise errors.Conflict(why=f"orders of another cluster ({got.cluster_id}); refused")
        if got.term < self._store.term:
            raise errors.StaleOrder(what="term", got=got.term, have=self._store.term)
        return got

    def _new_term(self, orders: messages.SdsOrders | messages.SdcOrders) -> bool:
        """Whether these are the first orders of a new MDM; from now on older ones are refused."""
        if orders.term == self._store.term:
            return False
        self._store.save_term(orders.term)
        logger.info("term term=%d", orders.term)
        return True

    @property
    def _identity(self) -> identity.Identity:
        if self._store.identity is None:
            raise errors.Unavailable(why="registration gave no identity")
        return self._store.identity

    def _registered(self) -> client.Client:
        try:
            registration.register(self.role, self._reach, self._words(), self._store)
        except (errors.BadConfig, errors.Unauthenticated, errors.Forbidden) as exc:
            # The join token may be gone by now; the secret still opens the door.
            if self._store.identity is None:
                raise
            if self._unannounced != str(exc):
                logger.warning("not_announced why=%s", exc)
            self._unannounced = str(exc)
        return client.Client(
            self._reach.mdm,
            self._identity.secret,
            user_agent=f"basalt-{self.role}",
            ca_file=self._reach.mdm_ca_file,
        )

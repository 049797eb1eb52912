"""The SDC agent's loop: how every mapping is goes up, which there should be comes down."""

import time

from appliance.agent import identity, registration, talk
from appliance.common import release
from appliance.protocol import messages
from appliance.sdc import config, mappings


class Agent(talk.Talk):
    """See ``agent.talk``. All mappings are in every heartbeat."""

    role: identity.Role = "sdc"

    def __init__(
        self, cfg: config.Config, store: identity.Store, held: mappings.Mappings, boot_id: str
    ) -> None:
        super().__init__(cfg, store, boot_id)
        self._cfg = cfg
        self._mappings = held

    def _words(self) -> messages.Registration:
        return registration.words(self._cfg, self.control_port)

    def _turn(self) -> None:
        heartbeat = messages.SdcHeartbeat(
            session=self._session,
            boot_id=self._boot_id,
            full=True,
            mappings=self._mappings.reports(),
            version=release.VERSION,
            sequence=next(self._sequence),
            clock=time.time(),
        )
        orders = self._exchange(heartbeat, messages.SdcOrders)
        self._new_term(orders)
        self._mappings.apply(orders.mappings)

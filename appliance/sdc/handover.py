"""What of the MDM's orders reaches a plugin, and in which order: never an older map (R1, R10).

Called from the poll loop and the link's thread, never from a thread that waits for a device:
what hangs there may be waiting for the very map that is handed over here.
"""

import logging
import threading

from appliance.common import log
from appliance.domain import model
from appliance.protocol import messages
from appliance.sdc import plugin_link

logger = logging.getLogger(__name__)


class Handover:
    """To one incarnation. ``floor`` is the (generation, version) of the newest map it had."""

    def __init__(self, incarnation: str, floor: tuple[int, int] = (0, 0)) -> None:
        self._incarnation = incarnation
        self._mutex = threading.Lock()
        self._floor = floor
        self._map: model.VolumeMap | None = None
        self._map_sent = False
        self._open = 0
        self._open_sent = 0
        self._request_id = "-"

    @property
    def floor(self) -> tuple[int, int]:
        return self._floor

    def offer(self, order: messages.MappingOrder, link: plugin_link.Link) -> None:
        """Hand over what is new in ``order``; a map for another incarnation is not ours."""
        with self._mutex:
            self._open = max(self._open, order.open_generation)
            self._request_id = order.request_id or "-"
            if order.map is not None and order.incarnation == self._incarnation:
                self._consider(order.map, link.status)
            self._send(link)

    def connected(self, link: plugin_link.Link) -> None:
        """A new connection: what was sent on the old one may have been lost."""
        with self._mutex:
            self._map_sent = False
            self._open_sent = 0
            self._send(link)

    def _consider(self, new: model.VolumeMap, status: messages.PluginStatus | None) -> None:
        if status is not None:
            self._floor = max(self._floor, (status.generation, status.version))
        number = (new.generation, new.version)
        if number < self._floor:
            logger.warning(
                "map_refused volume=%s got=%s.%s have=%s.%s", new.volume_id, *number, *self._floor
            )
        elif number > self._floor or self._map is None:
            self._floor = number
            self._map = new
            self._map_sent = False

    def _send(self, link: plugin_link.Link) -> None:
        with log.request(self._request_id):
            # Leaving the old generation comes before the map of the new one.
            if self._open > self._open_sent and link.open_generation(self._open):
                self._open_sent = self._open
            if self._map is not None and not self._map_sent:
                self._map_sent = link.send_map(self._map)

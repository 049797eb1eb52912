"""All legs of this SDS: who gets an order, what is to be reported, what is lost with a device.

Called by ``agent`` (one loop) and by ``devices``' callbacks. Legs work in a pool of their own.
"""

import logging
import threading
from collections.abc import Iterable

from appliance.protocol import messages
from appliance.sds import devices, fence, leg, leg_state, replica_store

logger = logging.getLogger(__name__)

Key = tuple[str, str]


class Legs:
    """By (volume id, device id). Thread-safe."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._legs: dict[Key, leg.Leg] = {}
        self._tools: leg_state.Tools | None = None

    def use(self, tools: leg_state.Tools) -> None:
        """Called once, before anything else: legs and devices need each other."""
        self._tools = tools

    def open(self, device: devices.Device) -> None:
        """Take on every volume found on ``device``; what a dead agent left running is killed.

        Raises OSError if the device cannot be read.
        """
        replica_store.clean(device.volumes)
        replicas = [replica_store.Replica(device.volumes, i) for i in _ids(device)]
        fence.kill_holders(replica.lock for replica in replicas)
        present = {replica.volume_id for replica in replicas}
        with self._mutex:
            present |= {found.volume_id for found in self._of(device.id)}
            opened = [self._leg(volume_id, device.id) for volume_id in sorted(present)]
        for found in opened:
            found.open(device)

    def lost(self, device: devices.Device) -> None:
        """``device`` may not be used any more."""
        with self._mutex:
            found = self._of(device.id)
        for lost in found:
            lost.lose(f"device {device.path} is {device.state}: {device.reason}")

    def drop(self, device: devices.Device) -> None:
        """``device`` was given back: know nothing of it any more."""
        with self._mutex:
            dropped = self._of(device.id)
            for found in dropped:
                del self._legs[(found.volume_id, device.id)]
        for found in dropped:
            found.stop()

    def submit(self, order: messages.LegOrder) -> None:
        """Raises errors.Invalid if an id in it may not name a file."""
        for ident in (order.volume_id, order.device_id, *order.incarnations, *order.retire):
            replica_store.checked_id(ident)
        with self._mutex:  # not to be forgotten in between
            self._leg(order.volume_id, order.device_id).submit(order)

    def reports(self) -> dict[Key, messages.LegReport]:
        with self._mutex:
            legs = list(self._legs.items())
        return {key: found.report() for key, found in legs}

    def forget(self, keys: Iterable[Key]) -> None:
        """The MDM knows that these are deleted."""
        with self._mutex:
            for key in keys:
                if key in self._legs and self._legs[key].gone:
                    del self._legs[key]

    def tick(self, measure: bool, again: bool) -> None:
        """Called at every turn of the agent's loop: see ``leg.Leg.tick``."""
        with self._mutex:
            legs = list(self._legs.values())
        for found in legs:
            found.tick(measure, again)

    def kill(self) -> None:
        """SIGKILL every process. No waiting."""
        with self._mutex:
            legs = list(self._legs.values())
        for found in legs:
            found.kill()

    def stop(self) -> None:
        """End every process. Called when the pool has ended."""
        self.kill()
        with self._mutex:
            legs = list(self._legs.values())
        for found in legs:
            found.stop()

    def _leg(self, volume_id: str, device_id: str) -> leg.Leg:
        key = (volume_id, device_id)
        if key not in self._legs:
            if self._tools is None:
                raise RuntimeError("use() comes first")
            self._legs[key] = leg.Leg(volume_id, device_id, self._tools)
        return self._legs[key]

    def _of(self, device_id: str) -> list[leg.Leg]:
        return [found for (_, device), found in self._legs.items() if device == device_id]


def _ids(device: devices.Device) -> list[str]:
    found = []
    for name in replica_store.scan(device.volumes):
        if replica_store.is_id(name):
            found.append(name)
        else:
            logger.warning("stranger_found path=%s/%s", device.volumes, name)
    return found

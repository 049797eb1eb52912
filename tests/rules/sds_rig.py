"""The SDS's parts in the test's own process: real files, real data servers; the test is the MDM."""

import threading
from concurrent import futures
from pathlib import Path

from appliance.agent import identity
from appliance.common import tls
from appliance.protocol import messages
from appliance.sds import devices, exports, leg_state, legs, processes, registry
from tests.fakes import sds_agent
from tests.fakes.sds_agent import DEVICE, VOLUME


class Sds:
    """One device, adopted. ``dead_agent`` is what an agent's SIGKILL leaves."""

    def __init__(self, folder: Path) -> None:
        self.device_dir = folder / "device"
        self.device_dir.mkdir()
        self._store = registry.Registry(folder / "data")
        self._store.save_identity(identity.Identity("sds", "secret", "cluster"))
        self._starter = processes.Starter()
        self._pools = [futures.ThreadPoolExecutor(2, "rule") for _ in range(2)]
        self.told = threading.Event()
        self.legs = legs.Legs()
        self._forgotten: legs.Legs | None = None
        self.devices = devices.Devices(
            self._store,
            "boot",
            4 << 20,
            on_open=self._open,
            on_lost=self._lost,
            on_gone=self._gone,
        )
        self._tools = leg_state.Tools(
            devices=self.devices,
            exports=exports.Exports(folder / "run", "127.0.0.1", (0, 0), self._starter, tls.NONE),
            starter=self._starter,
            workers=self._pools[0],
            flushers=self._pools[1],
            death_limit_s=10.0,
            data_tls=tls.NONE,
            changed=self.told.set,
        )
        self.legs.use(self._tools)
        self.devices.apply([messages.DeviceOrder(DEVICE, str(self.device_dir))])
        assert self.report_device().state == "ok", self.report_device()

    @property
    def folder(self) -> Path:
        return self.device_dir / "volumes" / VOLUME

    def report_device(self) -> messages.DeviceReport:
        (found,) = self.devices.reports()
        return found

    def report(self) -> messages.LegReport:
        return self.legs.reports()[(VOLUME, DEVICE)]

    def obey(self, order: messages.LegOrder) -> messages.LegReport:
        """The report once ``order`` was carried out, or refused."""
        self.legs.submit(order)
        leg = self.legs._legs[(VOLUME, DEVICE)]
        sds_agent.until(lambda: not leg._busy)
        return self.report()

    def dead_agent(self) -> None:
        """All that was known of running processes is gone; they are not."""
        self._forgotten, self.legs = self.legs, legs.Legs()
        self.legs.use(self._tools)
        self.legs.open(self.devices.get(DEVICE))

    def _open(self, device: devices.Device) -> None:
        self.legs.open(device)

    def _lost(self, device: devices.Device) -> None:
        self.legs.lost(device)

    def _gone(self, device: devices.Device) -> None:
        self.legs.drop(device)

    def close(self) -> None:
        self.legs.kill()
        if self._forgotten is not None:
            self._forgotten.kill()
            self._forgotten.stop()
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)
        self.legs.stop()
        self._starter.close()
        self._store.close()

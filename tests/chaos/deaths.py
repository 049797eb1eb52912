"""A client dies in mid-write, and its volume is mapped again: by its agent, at home, elsewhere."""

import random
import time

from tests.chaos import cluster, driver, workload

_UNITS = 24

#: Ways to a new map.
WAYS = ("by_its_agent", "elsewhere", "at_home")


class ClientDeaths:
    """One volume that outlives its clients."""

    def __init__(self, on: cluster.NetCluster, chance: random.Random) -> None:
        self._on = on
        self._chance = chance
        self._run = driver.Run(on, f"deaths/{chance.random()}", _UNITS)

    def once(self, way: str) -> tuple[str, float]:
        """Kill it once; what was done, and the seconds until a read was answered by a new map.

        Raises driver.Finding if the copies differ then, or a block is not what it may be.
        """
        run = self._run
        run.begin()
        enough = run.operations + self._chance.randrange(50, 300)
        cluster.wait(lambda: run.operations, lambda done: done >= enough, "writes to go on")
        began = time.monotonic()
        words = getattr(self, f"_{way}")()
        handle = workload.connect(run.path)
        handle.pread(4096, 0)
        took_s = time.monotonic() - began
        handle.shutdown()
        run.abandon_workers()
        run.await_well(driver.Round(0))
        run.verify()
        return words, took_s

    def finish(self) -> None:
        self._run.finish()

    def _by_its_agent(self) -> str:
        """The plugin alone is killed; its agent begins a new incarnation."""
        self._on.kill_plugins(self._run.sdc)
        return "replaced by its agent"

    def _elsewhere(self) -> str:
        """The host is gone for good; people map the volume to another."""
        gone = self._run.sdc
        other = next(name for name in cluster.SDCS if name != gone)
        self._on.power_off(gone)
        self._on.unmap(self._run.name, gone, force=True)
        cluster.wait(
            lambda: self._on.volume(self._run.name)["mappings"],
            lambda left: left == [],
            "the dead client to be cut off",
        )
        self._on.map(self._run.name, other)
        self._run.use(other)
        self._on.power_on(gone)
        return "mapped elsewhere"

    def _at_home(self) -> str:
        """The host comes back and maps by itself what it had."""
        self._on.power_off(self._run.sdc)
        self._on.power_on(self._run.sdc)
        self._run.use(self._run.sdc)
        return "host rebooted"

"""A client dies in mid-write, and its volume is mapped again: by its agent, at home, elsewhere."""

import random
import time
from collections.abc import Callable

from tests.chaos import cluster, driver, workload

_UNITS = 24

#: What was done, how the volume is mapped again, and what is left to do then.
_Way = tuple[str, Callable[[], None], Callable[[], None]]

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
        words, recover, afterwards = getattr(self, f"_{way}")()
        began = time.monotonic()
        recover()
        handle = workload.connect(run.path)
        handle.pread(4096, 0)
        took_s = time.monotonic() - began
        handle.shutdown()
        afterwards()
        run.abandon_workers()
        run.await_well(driver.Round(0))
        run.verify()
        return words, took_s

    # Each kills the client; what it did, how the volume is mapped again, what is to be done later.

    def _by_its_agent(self) -> _Way:
        """The plugin alone is killed; its agent begins a new incarnation."""
        self._on.kill_plugins(self._run.sdc)
        return "replaced by its agent", _nothing, _nothing

    def _elsewhere(self) -> _Way:
        """The host is gone for good; people map the volume to another."""
        gone = self._run.sdc
        other = next(name for name in cluster.SDCS if name != gone)
        self._on.power_off(gone)

        def recover() -> None:
            self._on.unmap(self._run.name, gone, force=True)
            cluster.wait(
                lambda: self._on.volume(self._run.name)["mappings"],
                lambda left: left == [],
                "the dead client to be cut off",
            )
            self._on.map(self._run.name, other)
            self._run.use(other)

        return "mapped elsewhere", recover, lambda: self._on.power_on(gone)

    def _at_home(self) -> _Way:
        """The host comes back and maps by itself what it had."""
        home = self._run.sdc
        self._on.power_off(home)

        def recover() -> None:
            self._on.power_on(home)
            self._run.use(home)

        return "host rebooted", recover, _nothing

    def finish(self) -> None:
        self._run.finish()


def _nothing() -> None:
    pass

"""Faults of what a host has to give: processor, memory, descriptors, its clock, the MDM's database.

Each is bounded: nothing here can take the machine the tests run on away from others.
"""

import contextlib
import random
import signal
import sqlite3
import sys
from pathlib import Path

from tests.chaos import cluster
from tests.chaos.fault import Fault, only

#: What the host's memory is bounded to, and what somebody else then takes of it.
_HOG_BYTES = 192 << 20

#: The kernel ends the roles' processes first to get memory back, not the hog or the first process.
_MEMORY_HOG = f"""
import contextlib, os, pathlib, time
for entry in pathlib.Path("/proc").iterdir():
    if entry.name.isdigit() and int(entry.name) not in (1, os.getpid()):
        with contextlib.suppress(OSError):
            (entry / "oom_score_adj").write_text("1000")
held = []
for _ in range({_HOG_BYTES} >> 20):
    held.append(bytearray(os.urandom(1 << 20)))
time.sleep(600)
"""

_STEPS_S = (-86400, -3600, -5, 5, 3600, 86400)


def hog_processor(on: cluster.NetCluster, chance: random.Random, sdc: str) -> Fault:
    """More that wants to run than there are processors, beside the roles."""
    names = chance.sample((*cluster.SDSS, cluster.MDM, sdc), 3)

    def _begin() -> None:
        for name in names:
            on.hosts[name].start("hog", [sys.executable, "-c", "while True: pass"], on.log("hog"))

    def _heal() -> None:
        for name in names:
            on.hosts[name].signal("hog", signal.SIGKILL)

    return Fault(f"processor of {', '.join(names)} hogged", frozenset(names), _begin, _heal)


def squeeze_memory(on: cluster.NetCluster, chance: random.Random, sdc: str) -> Fault:
    """The host's memory is used up by somebody else: the kernel reclaims, and ends processes."""
    name = chance.choice((*cluster.SDSS, sdc, cluster.MDM))

    def _begin() -> None:
        on.limit_memory(name, _HOG_BYTES)
        hog = [sys.executable, "-c", _MEMORY_HOG]
        on.hosts[name].start("memory-hog", hog, on.log("hog"))

    def _heal() -> None:
        on.hosts[name].signal("memory-hog", signal.SIGKILL)
        on.limit_memory(name, -1)
        on.start(name)

    # The plugin may be what the kernel ends.
    return Fault(f"memory of {name} used up", only(name), _begin, _heal, name == sdc)


def few_descriptors(on: cluster.NetCluster, chance: random.Random, sdc: str) -> Fault:
    """The role is started again with hardly a descriptor more than it has in use."""
    name = chance.choice((*cluster.SDSS, sdc, cluster.MDM))
    spare = chance.choice((0, 1, 3, 6))

    def _begin() -> None:
        on.files[name] = max(12, on.descriptors(name) + spare)
        on.kill(name)
        on.start(name)

    def _heal() -> None:
        on.files.pop(name)
        if on.alive(name):
            on.kill(name)
        on.start(name)

    return Fault(
        f"{name} has {spare} descriptors to spare",
        only(name),
        _begin,
        _heal,
        excuses="Too many open files|unable to open database file",
    )


def step_clock(on: cluster.NetCluster, chance: random.Random, sdc: str) -> Fault:
    name = chance.choice((cluster.MDM, "sds1", sdc))
    step = chance.choice(_STEPS_S)
    return Fault(
        f"clock of {name} stepped by {step:+} s",
        only(name),
        lambda: on.step_clock(name, step),
        lambda: on.step_clock(name, 0),
    )


def lock_database(on: cluster.NetCluster, _chance: random.Random, _sdc: str) -> Fault:
    """Somebody else's transaction keeps the MDM from writing."""
    held = contextlib.ExitStack()

    def _begin() -> None:
        connection = sqlite3.connect(
            database(on), timeout=20, isolation_level=None, check_same_thread=False
        )
        held.callback(connection.close)
        connection.execute("BEGIN IMMEDIATE")

    return Fault("database of mdm locked", only(cluster.MDM), _begin, held.close)


def fill_database(on: cluster.NetCluster, _chance: random.Random, _sdc: str) -> Fault:
    """No free byte where the MDM's database lies."""
    return Fault(
        "disk of mdm full",
        only(cluster.MDM),
        lambda: on.fill_disk(cluster.MDM),
        lambda: on.empty_disk(cluster.MDM),
    )


def database(on: cluster.NetCluster) -> Path:
    """The MDM's database, as a path here."""
    return on.hosts[cluster.MDM].path(on.device(cluster.MDM)) / "mdm.db"

"""Faults of things that break for good: a disk that answers EIO, the MDM's database damaged.

Somebody has to put them right: a new disk in the place of the old, a backup in the place of the
database.
"""

import contextlib
import random
import shutil
import sys
from pathlib import Path

from tests.chaos import cluster, host, shortages
from tests.chaos.fault import Fault, only

_PAGE = 4096


def break_disk(on: cluster.NetCluster, chance: random.Random, _sdc: str) -> Fault:
    """Every request to the SDS's disk fails; then the disk is replaced by an empty one.

    Begun with everything in sync, else the only copy could be lost with it: as it would be.
    """
    sds = chance.choice(sorted(on.disks))
    broken: list[str] = []

    def _begin() -> None:
        with contextlib.suppress(TimeoutError):
            for volume in on.call("get", "/volumes")["items"]:
                on.wait_healthy(volume["name"], 90)
            on.disks[sds].break_down()
            broken.append(sds)

    def _heal() -> None:
        if broken:
            on.replace_disk(sds)

    # Nothing else at once: whoever replaces a disk needs the MDM, and room on the others.
    return Fault(f"disk of {sds} broken", frozenset(cluster.HOSTS), _begin, _heal)


def damage_database(on: cluster.NetCluster, chance: random.Random, _sdc: str) -> Fault:
    """The MDM ends, and its database is found damaged: it does not start. A backup is put back."""
    backup = on.directory / "mdm-backup.db"

    def _begin() -> None:
        on.kill(cluster.MDM)
        database = shortages.database(on)
        for ending in ("", "-wal"):
            taken = Path(f"{backup}{ending}")
            taken.unlink(missing_ok=True)
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(f"{database}{ending}", taken)
        _spoil(database, chance)
        on.start(cluster.MDM)

    def _heal() -> None:
        if on.alive(cluster.MDM):  # what was spoilt was free pages
            on.kill(cluster.MDM)
        folder = on.device(cluster.MDM)
        on.hosts[cluster.MDM].run(
            ["env", f"PYTHONPATH={host.REPOSITORY}", sys.executable, "-m", "appliance.mdm",
             "restore", "--data-dir", str(folder), "--from", str(backup)]
        )  # fmt: skip
        for aside in on.hosts[cluster.MDM].path(folder).glob("mdm.db.replaced-*"):
            aside.unlink()
        on.start(cluster.MDM)

    return Fault("database of mdm damaged", only(cluster.MDM), _begin, _heal)


def _spoil(database: Path, chance: random.Random) -> None:
    """Random bytes over a third of the pages; the log, which might put them right, is gone."""
    for path in (Path(f"{database}-wal"), Path(f"{database}-shm")):
        path.unlink(missing_ok=True)
    pages = database.stat().st_size // _PAGE
    with database.open("r+b") as file:
        for page in chance.sample(range(pages), max(1, pages // 3)):
            file.seek(page * _PAGE)
            file.write(chance.randbytes(_PAGE))

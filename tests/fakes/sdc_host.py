"""A client host for tests: real nbdkit, nbdfuse and loop devices, and nothing left afterwards.

Mappings run as in the agent, ordered by hand. Plugins are fake_plugin.py unless told otherwise.
"""

import contextlib
import dataclasses
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from appliance.common import units
from appliance.domain import model
from appliance.protocol import messages
from appliance.sdc import app, config, mappings

FAKE_PLUGIN = Path(__file__).with_name("fake_plugin.py")

#: Only reached by what hangs; a translated virtual machine is many times slower.
_LIMIT_S = 90.0


class SdcHost:
    """``with SdcHost(folder) as host``. ``folder`` is the host's own; its path marks all that
    belongs to it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        values: dict[str, Any] = {
            "data_dir": folder / "data",
            "run_dir": folder / "run",
            "link_dir": folder / "dev",
            "plugin": str(FAKE_PLUGIN),
            "host": "127.0.0.1",
            "hosts": ("127.0.0.1",),
            "stop_timeout_s": 2.0,
            "backend": "fuse",
        }
        self.cfg = config.Config(**(values | settings))
        self.boot_id = "boot-1"
        self.news = 0
        self.orders: dict[str, messages.MappingOrder] = {}
        self.mappings = self._new_agent()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """End the processes first: what hangs in a device fails then."""
        for pid in pids_with(str(self.folder)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.mappings.close()
        clean_up(self.folder)

    def restart_agent(self, boot_id: str = "boot-1") -> None:
        """What a new agent process finds; ``boot_id`` of another boot if told so."""
        self.mappings.close()
        self.boot_id = boot_id
        self.mappings = self._new_agent()
        self.mappings.adopt()

    def map(self, name: str = "vol", size: int = 64 * units.MIB, **more: Any) -> str:
        """Order a mapping of a new volume; the id of the mapping."""
        ident = secrets.token_hex(8)
        self.orders[ident] = messages.MappingOrder(
            mapping_id=ident,
            volume_id=secrets.token_hex(8),
            volume_name=name,
            size=size,
            read_only=False,
            backend="auto",
            lock_token="token-of-" + ident,
        )
        self.change(ident, **more)
        return ident

    def change(self, ident: str, **changes: Any) -> None:
        self.orders[ident] = dataclasses.replace(self.orders[ident], **changes)
        self.poll()

    def poll(self) -> None:
        """One heartbeat: every running incarnation gets its map, as if its turn were over."""
        reports = {report.mapping_id: report for report in self.mappings.reports()}
        for ident, order in self.orders.items():
            report = reports.get(ident)
            if report is not None and report.incarnation != order.incarnation:
                known = order.map
                generation = known.generation + 1 if known is not None else 1
                self.orders[ident] = dataclasses.replace(
                    order,
                    incarnation=report.incarnation,
                    map=volume_map(order.volume_id, order.size, generation),
                )
        self.mappings.apply(list(self.orders.values()))

    def report(self, ident: str) -> messages.MappingReport:
        return next(r for r in self.mappings.reports() if r.mapping_id == ident)

    def wait(
        self, ident: str, done: Callable[[messages.MappingReport], bool]
    ) -> messages.MappingReport:
        """Poll until the report of ``ident`` satisfies ``done``."""
        deadline = time.monotonic() + _LIMIT_S
        while True:
            self.poll()
            report = self.report(ident)
            if done(report):
                return report
            assert time.monotonic() < deadline, report
            time.sleep(0.02)

    def attached(self, ident: str) -> messages.MappingReport:
        return self.wait(ident, lambda r: r.state == "attached")

    def detached(self, ident: str, **more: Any) -> messages.MappingReport:
        self.change(ident, wanted=False, **more)
        return self.wait(ident, lambda r: r.state == "detached")

    def stats(self, ident: str) -> messages.IoStats:
        """What the plugin has counted when this is called, or a little later."""
        last = self.report(ident).plugin
        for _ in range(2):  # the first may have been on its way already
            until(lambda known=last: self.report(ident).plugin is not known)
            last = self.report(ident).plugin
        assert last is not None
        return last.stats

    def plugin_pid(self, ident: str) -> int:
        report = self.report(ident)
        [pid] = pids_with(f"incarnation={report.incarnation}")
        return pid

    def _new_agent(self) -> mappings.Mappings:
        return mappings.Mappings(app.make_ground(self.cfg, self.boot_id, self._count_news))

    def _count_news(self) -> None:
        self.news += 1


def volume_map(volume_id: str, size: int, generation: int = 1, version: int = 1) -> model.VolumeMap:
    replica = model.Replica("d1", model.ReplicaState.IN_SYNC)
    return model.VolumeMap(
        volume_id=volume_id,
        name="vol",
        size=size,
        thin=True,
        generation=generation,
        version=version,
        columns=((replica,),),
        legs=(),
    )


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _LIMIT_S
    while not done():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def pids_with(text: str) -> list[int]:
    """Processes, but this one, with ``text`` somewhere on their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if text.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return sorted(found)


def mounts_under(folder: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return [point for point in (line.split()[4] for line in lines) if f"{folder}/" in point]


def loops_under(folder: Path) -> list[str]:
    found = []
    for file in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            if f"{folder}/" in file.read_text(encoding="utf-8"):
                found.append(f"/dev/{file.parts[3]}")
    return found


def clean_up(folder: Path) -> None:
    """Whatever a failed test left: mounts of devices, devices, mounts of files."""
    for point in reversed(mounts_under(folder)):
        if not point.endswith("/fuse"):
            subprocess.run(["umount", "--lazy", point], check=False, timeout=20)
    for device in loops_under(folder):
        subprocess.run(["losetup", "--detach", device], check=False, timeout=20)
    for point in reversed(mounts_under(folder)):
        subprocess.run(["umount", "--lazy", point], check=False, timeout=20)

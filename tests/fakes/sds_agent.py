"""A real SDS agent process for tests, its log, and orders and NBD clients made short."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbd

from appliance.domain import model
from appliance.protocol import messages
from tests.fakes import fake_mdm

MIB = 1 << 20
POLL_S = 0.2
VOLUME = "00000000000000aa"
DEVICE = "00000000000000dd"
CLIENT = "00000000000000c1"

IN_SYNC = model.ReplicaState.IN_SYNC
SYNCING = model.ReplicaState.SYNCING


def until(reached: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    """What ``reached`` gives once it is true."""
    deadline = time.monotonic() + timeout_s
    while not (found := reached()):
        assert time.monotonic() < deadline, "not reached in time"
        time.sleep(0.005)
    return found


class SdsAgent:
    """``python -m appliance.sds`` with everything below ``folder``."""

    def __init__(self, folder: Path, mdm: fake_mdm.FakeMdm, name: str, *sets: str) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.log = folder / "sds.log"
        folder.mkdir(parents=True, exist_ok=True)
        token = folder / "join.token"
        token.write_text(fake_mdm.JOIN_TOKEN)
        self.boot_id = folder / "boot_id"
        self.boot_id.write_text("boot-one\n")
        settings = {
            "data_dir": self.data_dir,
            "run_dir": folder / "run",
            "name": name,
            "mdm": f'["{mdm.url}"]',
            "join_token_file": token,
            "host": "127.0.0.1",
            "hosts": '["127.0.0.1"]',
            "control_port": 0,
            "data_port_first": 0,
            "data_port_last": 0,
            "ballast_bytes": 4 * MIB,
            "poll_s": POLL_S,
            "boot_id_file": self.boot_id,
        }
        self._argv = [sys.executable, "-m", "appliance.sds", "--config-dir", str(folder / "none")]
        for key, value in settings.items():
            self._argv += ["--set", f"{key}={value}"]
        for pair in sets:
            self._argv += ["--set", pair]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "SdsAgent":
        before = len(re.findall(r" ready port=", self.text()))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._argv, stdout=log, stderr=log)
        until(lambda: self.process.poll() is not None or self._ready() > before)
        assert self.process.poll() is None, self.text()
        return self

    def run_to_end(self) -> tuple[int, str]:
        """For an agent that will not start: its exit status and what it said."""
        done = subprocess.run(self._argv, capture_output=True, text=True, timeout=30, check=False)
        return done.returncode, done.stderr

    def kill(self) -> None:
        """As a host's OOM killer would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(20) == 0, self.text()

    def text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    @property
    def port(self) -> int:
        return int(re.findall(r" ready port=(\d+)", self.text())[-1])

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as reply:
            return bytes(reply.read())

    def poke(self) -> None:
        url = f"http://127.0.0.1:{self.port}/poke"
        urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=10).close()

    def _ready(self) -> int:
        return len(re.findall(r" ready port=", self.text()))


def order(generation: int, **changes: Any) -> messages.LegOrder:
    """An order for a thin 8 MiB volume of one column, all here, with one client."""
    plain = messages.LegOrder(
        volume_id=VOLUME,
        device_id=DEVICE,
        name="v1",
        size=8 * MIB,
        unit=MIB,
        ncols=1,
        thin=True,
        columns=(messages.OwnColumn(0, IN_SYNC),),
        generation=generation,
        serve=True,
        incarnations=(CLIENT,),
    )
    return replace(plain, **changes)


def connect(report: messages.LegReport, export: str | None = None, unix: bool = False) -> nbd.NBD:
    """A connection to the leg's data, or to another export of its server."""
    handle = nbd.NBD()
    handle.set_export_name(report.data_export if export is None else export)
    handle.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
    if unix:
        handle.connect_unix(report.socket)
    else:
        handle.connect_tcp("127.0.0.1", str(report.port))
    return handle


def leg_of(report: messages.LegReport, sds: str = "other") -> model.Leg:
    """How a copier reaches the reported server."""
    return model.Leg(
        device_id=report.device_id,
        sds_id=sds,
        sds_name=sds,
        hosts=("127.0.0.1",),
        port=report.port,
        socket="",
        data_export=report.data_export,
        intent_export=next(iter(report.intents.values()), ""),
    )


def names(folder: Path) -> list[str]:
    """What is in ``folder``, sorted."""
    return sorted(entry.name for entry in folder.iterdir())


def _open_files(descriptors: Path) -> set[Path]:
    """What a process has open; a descriptor it closes meanwhile hides none of the others.

    One that may not be looked at is nobody's whom a test started.
    """
    try:
        links = list(descriptors.iterdir())
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return set()
    found = set()
    for link in links:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            found.add(link.readlink())
    return found


def holders(lock: Path) -> list[int]:
    """Pids of processes that have ``lock`` open."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and lock in _open_files(Path(entry.path, "fd")):
            found.append(int(entry.name))
    return found

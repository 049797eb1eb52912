"""The SDC agent as a process of its own, with an MDM played by hand."""

import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbd

from appliance.common import units
from appliance.protocol import messages
from appliance.rest import client
from tests.fakes import sdc_host, sdc_mdm


class AgentProcess:
    """``python -m appliance.sdc`` on a host of its own under ``folder``."""

    def __init__(self, folder: Path, mdm: sdc_mdm.SdcMdm) -> None:
        self.folder = folder
        self.log = folder / "agent.log"
        self._token = folder / "join.token"
        self._token.write_text(sdc_mdm.JOIN_TOKEN + "\n")
        self._mdm = mdm
        self._process: subprocess.Popen[bytes] | None = None
        self._since = 0  # where the present process' log begins

    def start(self, **more: str) -> None:
        values = {
            "data_dir": self.folder / "data",
            "run_dir": self.folder / "run",
            "link_dir": self.folder / "dev",
            "name": "client1",
            "mdm": f'["{self._mdm.url}"]',
            "join_token_file": self._token,
            "host": "127.0.0.1",
            "hosts": '["127.0.0.1"]',
            "control_port": 0,
            "backend": "none",
            "plugin": sdc_host.FAKE_PLUGIN,
            "stop_timeout_s": 2.0,
            "poll_s": 0.2,
            **more,
        }
        argv = [sys.executable, "-m", "appliance.sdc", "--config-dir", str(self.folder / "none")]
        for key, value in values.items():
            argv += ["--set", f"{key}={value}"]
        with self.log.open("ab") as log:
            self._since = log.tell()
            self._process = subprocess.Popen(argv, stderr=log)

    def stop(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(30)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def call(self, token: str | None = None) -> client.Client:
        """A client of its control port."""
        return client.Client([f"http://127.0.0.1:{self.port()}"], token)

    def port(self) -> int:
        """Its control port, once it is open."""
        ready = re.compile(r"ready port=(\d+)")
        sdc_host.until(lambda: ready.search(self.log.read_text()[self._since :]) is not None)
        [port] = ready.findall(self.log.read_text()[self._since :])
        return int(port)


@contextmanager
def running(folder: Path, mdm: sdc_mdm.SdcMdm) -> Iterator[AgentProcess]:
    """An agent, started; afterwards nothing of it is left, and its log has no error."""
    made = AgentProcess(folder, mdm)
    made.start()
    try:
        yield made
    finally:
        made.kill()
        for pid in sdc_host.pids_with(str(folder)):
            os.kill(pid, signal.SIGKILL)
        sdc_host.clean_up(folder)
    assert " ERROR " not in made.log.read_text()
    assert "Traceback" not in made.log.read_text()


def order(mdm: sdc_mdm.SdcMdm, **more: Any) -> str:
    ident = secrets.token_hex(8)
    values: dict[str, Any] = {
        "mapping_id": ident,
        "volume_id": secrets.token_hex(8),
        "volume_name": "vol",
        "size": 16 * units.MIB,
        "read_only": False,
        "backend": "auto",
        "lock_token": "lock-token",
    }
    mdm.order(messages.MappingOrder(**(values | more)))
    return ident


def attached(mdm: sdc_mdm.SdcMdm, ident: str) -> messages.MappingReport:
    sdc_host.until(lambda: ident in mdm.reports and mdm.reports[ident].state == "attached")
    return mdm.reports[ident]


def connect(report: messages.MappingReport) -> nbd.NBD:
    handle = nbd.NBD()
    handle.connect_uri(report.uri)
    return handle

"""Server time of MGMT's pages over a large cluster: 100 SDSs, 1,000 volumes, 10,000 alerts.

The MDM is a process of its own, as on a host; MGMT is whole; the agents are in memory. Alerts are
made as the rules make them.
"""

import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from appliance.mgmt.alerts import engine, rules, store
from appliance.rest import client
from tests.fakes import running_mdm, running_mgmt

SERVERS, VOLUMES, ALERTS = 100, 1000, 10_000

_PAGES = (
    "/health", "/volumes", "/volumes?page=20", "/volumes?q=v99", "/volumes?health=healthy",
    "/servers", "/servers?page=2", "/topology", "/jobs", "/events", "/alerts",
    "/alerts?status=all", "/alerts?status=all&q=no+77", "/rules", "/channels", "/users",
    "/account", "/audit", "/system", "/health/api/summary", "/health/api/components",
    "/api/v1/history", "/metrics",
)  # fmt: skip

#: What the filling of a busy MDM may wait for one answer.
_TIMEOUT_S = 60.0

_ROUNDS = 10
_CALLERS = 100


def measure() -> str:
    """A table of p50 and the slowest in milliseconds; and 100 summaries at once."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as work:
        mdm = _Mdm(Path(work) / "mdm")
        try:
            _fill(mdm)
            mgmt = running_mgmt.RunningMgmt(
                Path(work) / "mgmt", mdm.url, mdm.folder / "admin.token", poll_s=1.0,
                mdm_timeout_s=30.0,
            )  # fmt: skip
            try:
                return _measured(mgmt)
            finally:
                mgmt.stop()
        finally:
            mdm.close()


class _Mdm(running_mdm.RunningMdm):
    def start(self) -> None:
        port_file = self.folder.parent / "port"
        settings = ["host=127.0.0.1", "port=0", "heartbeat_limit_s=3600", "log_level=WARNING"]
        settings += [f"data_dir={self.folder}", f"port_file={port_file}"]
        words = [word for setting in settings for word in ("--set", setting)]
        command = [sys.executable, "-m", "appliance.mdm", "--config-dir", "/nowhere", *words]
        self._process = subprocess.Popen(command)
        while not port_file.exists():
            if self._process.poll() is not None:
                raise RuntimeError("the MDM did not start")
            time.sleep(0.05)
        self.url = f"http://127.0.0.1:{port_file.read_text(encoding='ascii').strip()}"
        self.admin_token = (self.folder / "admin.token").read_text(encoding="ascii").strip()
        self.join_token = (self.folder / "join.token").read_text(encoding="ascii").strip()
        self.api = client.Client([self.url], self.admin_token, _TIMEOUT_S)

    def stop(self) -> None:
        self.api.close()
        self._process.terminate()
        self._process.wait(30)


def _fill(mdm: running_mdm.RunningMdm) -> None:
    mdm.build(servers=SERVERS)
    for number in range(VOLUMES):
        mdm.volume(f"v{number}", columns=2)
    mdm.beat(2)


def _measured(mgmt: running_mgmt.RunningMgmt) -> str:
    mgmt.until(
        lambda: len(getattr(mgmt.context.view.current, "volumes", ())) == VOLUMES,
        "all volumes", 120,
    )  # fmt: skip
    known = rules.load(mgmt.context.db)
    for start in range(0, ALERTS, 1000):
        raised = [
            engine.Reading("sds_down", "sds", f"gone{n}", f"gone{n}", 1.0, f"Alert no {n}")
            for n in range(start, start + 1000)
        ]
        outcome = engine.Outcome(raised, [one.key for one in raised], [])
        store.keep(mgmt.context.db, known, outcome)
    browser = mgmt.browser()
    lines = [f"{'MGMT pages, ms':34}{'p50':>8}{'max':>8}"]
    for page in _PAGES:
        times = []
        for _ in range(_ROUNDS):
            began = time.perf_counter()
            browser.page(page)
            times.append((time.perf_counter() - began) * 1000)
        lines.append(f"{page:34}{statistics.median(times):8.1f}{max(times):8.1f}")
    lines.append(_at_once(browser))
    return "\n".join(lines)


def _at_once(browser: running_mgmt.Browser) -> str:
    failed: list[BaseException] = []

    def ask() -> None:
        try:
            browser.page("/health/api/summary")
        except BaseException as exc:  # noqa: BLE001 - counted
            failed.append(exc)

    threads = [threading.Thread(target=ask) for _ in range(_CALLERS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took_ms = (time.perf_counter() - began) * 1000
    return f"{_CALLERS} summaries at once: {took_ms:.0f} ms in all, {len(failed)} errors"

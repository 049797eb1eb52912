"""``basalt-mdm`` as a process: it says where it listens, and ends when it is told to."""

import contextlib
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import urllib3

from appliance.rest import client


def test_it_starts_says_its_port_and_ends_on_a_signal(tmp_path: Path) -> None:
    port_file = tmp_path / "port"
    settings = [f"data_dir={tmp_path}/mdm", "host=127.0.0.1", "port=0", f"port_file={port_file}"]
    options = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-m", "appliance.mdm", "--config-dir", str(tmp_path), *options]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            deadline = time.monotonic() + 30
            while not port_file.exists():
                assert process.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline
            port = int(port_file.read_text(encoding="ascii"))
            url = f"http://127.0.0.1:{port}"
            health = urllib3.request("GET", f"{url}/health", retries=False, timeout=10).json()
            assert health["ready"] is True
            token = (tmp_path / "mdm" / "admin.token").read_text(encoding="ascii").strip()
            with contextlib.closing(client.Client([url], token)) as api:
                assert api.get("/")["role"] == "mdm"
        finally:
            process.send_signal(signal.SIGTERM)
            ended = process.wait(timeout=30)
    written = (tmp_path / "log").read_text(encoding="utf-8")
    assert ended == 0
    assert re.search(rf"INFO mdm appliance.mdm.app ready port={port} ", written)
    assert not re.search(r"ERROR|WARNING|Traceback", written)
    assert token not in written

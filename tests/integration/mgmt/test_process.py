"""``basalt-mdm`` and ``basalt-mgmt`` as processes, while another program has their port."""

import contextlib
import signal
import socket
import subprocess
import sys
import time

import pytest
import urllib3


def wait(found, what, limit_s=30.0):
    deadline = time.monotonic() + limit_s
    while not (answer := found()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
    return answer


@contextlib.contextmanager
def started(role, folder, port):
    """The process, and what tells its log so far."""
    (folder / "token").write_text("of no use here\n", encoding="ascii")
    settings = [f"data_dir={folder}/data", "host=127.0.0.1", f"port={port}"]
    if role == "mgmt":
        settings += [f"mdm_token_file={folder}/token", 'mdm=["http://127.0.0.1:1"]']
    options = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-m", f"appliance.{role}", "--config-dir", str(folder), *options]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            yield process, (folder / "log").read_text
        finally:
            process.kill()


def live(role, port):
    path = "/health" if role == "mdm" else "/health/live"
    url = f"http://127.0.0.1:{port}{path}"
    try:
        return urllib3.request("GET", url, retries=False, timeout=10).status == 200
    except urllib3.exceptions.HTTPError:
        return False


@pytest.mark.parametrize("role", ["mdm", "mgmt"])
def test_it_says_that_its_port_is_taken_and_starts_once_it_is_free(tmp_path, role):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with started(role, tmp_path, port) as (process, log):
            wait(lambda: "port_taken" in log(), "the words")
            words = f"port_taken port={port} hint=end what has it (ss -ltnp names it)"
            assert words in log()
            assert not (tmp_path / "data").exists()  # nothing was begun
            taken.close()
            wait(lambda: live(role, port), "an answer")
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            assert log().count("port_taken") == 1  # said once
            assert f"ready port={port}" in log()


def test_it_ends_on_a_signal_while_it_waits_for_its_port(tmp_path):
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        started("mgmt", tmp_path, taken.getsockname()[1]) as (process, log),
    ):
        wait(lambda: "port_taken" in log(), "the words")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0

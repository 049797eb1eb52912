"""A real cluster for tests: what ``basalt local up`` starts, driven through ``basalt`` itself."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click.testing

from appliance.cli import main
from appliance.cli.local import processes, state
from appliance.rest import client

T = TypeVar("T")

#: Where a record of a log begins; what follows without a stamp (a traceback) belongs to it.
_RECORD = re.compile(r"^(?=\d{4}-\d\d-\d\d )", re.MULTILINE)
_BAD = re.compile(r"^\S+ \S+ (ERROR|CRITICAL) |^Traceback ", re.MULTILINE)


class CommandFailed(Exception):
    """``basalt`` ended with ``code``; ``stderr`` says why."""

    def __init__(self, words: Sequence[str], code: int, stdout: str, stderr: str) -> None:
        super().__init__(f"basalt {' '.join(words)}: exit code {code}: {stderr}")
        self.code = code
        self.stdout = stdout
        self.stderr = stderr


class LocalCluster:
    """One MDM, ``sds`` SDSs and one SDC in ``directory``; ``options`` go to ``basalt local up``.

    ``mgmt``: with MGMT too, which most tests do not need. ``measured`` false: coverage of its
    processes is not measured, where there are hundreds.
    """

    def __init__(
        self,
        directory: Path,
        sds: int = 3,
        options: Sequence[str] = (),
        mgmt: bool = False,
        measured: bool = True,
    ) -> None:
        self.directory = directory
        self._environ = dict(os.environ)
        if not measured:
            self._environ.pop("COVERAGE_PROCESS_START", None)
        self._options = ["--sds", str(sds), "--mgmt" if mgmt else "--no-mgmt", *options]
        self._read: dict[Path, int] = {}

    def up(self) -> Any:
        """Start the cluster, or what is missing of it; ready when this returns."""
        return self.local("up", *self._options)

    def stop(self) -> None:
        """Stop every process; logs and data stay."""
        self.local("down", "--force")

    def remove(self) -> None:
        """Stop it and delete it with its data."""
        self.local("down", "--purge", "--force")

    def local(self, verb: str, *words: str) -> Any:
        return self._run(["local", verb, "--dir", str(self.directory), *words])

    def process(self, *words: str) -> Any:
        """The JSON that ``basalt words``, a process of its own, prints. Raises CommandFailed."""
        return self._run([*self._where, *words])

    def cli(self, *words: str) -> Any:
        """The same in this process: a new one costs most of a second, and tests ask often."""
        done = click.testing.CliRunner().invoke(main.cli, [*self._where, *words, "--json"])
        if done.exit_code:
            raise CommandFailed(words, done.exit_code, done.stdout, done.stderr)
        return json.loads(done.stdout)

    @property
    def _where(self) -> list[str]:
        return ["--url", self.url, "--token-file", str(state.admin_token(self.directory))]

    def local_cli(self, *words: str) -> Any:
        """As ``cli``, for commands that need no MDM."""
        return self._run(list(words))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.state.ports[state.MDM]}"

    @property
    def mgmt_url(self) -> str:
        return f"http://127.0.0.1:{self.state.ports[state.MGMT]}"

    @property
    def mgmt_password(self) -> str:
        return state.mgmt_password(self.directory).read_text(encoding="ascii").strip()

    @property
    def token(self) -> str:
        return state.admin_token(self.directory).read_text(encoding="ascii").strip()

    def client(self) -> client.Client:
        """For what the CLI has no command for."""
        return client.Client([self.url], self.token, timeout_s=60.0, user_agent="tests")

    @property
    def state(self) -> state.Cluster:
        return state.need(self.directory)

    @property
    def device_dirs(self) -> list[Path]:
        """Of sds1, sds2, …"""
        return [Path(device.path) for device in self.state.devices]

    def kill(self, name: str) -> None:
        """SIGKILL the process ``name`` (mdm, sds2, sdc1) and wait until it is gone."""
        processes.kill(self.state.processes[name])

    def command(self, name: str) -> list[str]:
        """The module and the arguments of the process ``name``, to start another like it."""
        pid = self.state.processes[name].pid
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[2:-1]

    def kill_sds(self, number: int) -> None:
        self.kill(f"sds{number}")

    def start_sds(self, number: int) -> None:
        """Start whatever is missing; ``sds<number>`` then runs."""
        self.up()
        assert self.alive(f"sds{number}")

    def alive(self, name: str) -> bool:
        return processes.alive(self.state.processes.get(name))

    def wait_healthy(self, volume: str, limit_s: float = 120.0) -> Any:
        """Until all copies of ``volume`` are equal again; the volume then."""
        return wait(
            lambda: self.cli("volume", "show", volume),
            lambda seen: seen["health"] == "healthy",
            f"volume {volume} to be healthy",
            limit_s,
        )

    def logs(self) -> dict[str, str]:
        """The whole log of every process, by its name."""
        return {
            path.stem: path.read_text(encoding="utf-8", errors="replace")
            for path in sorted((self.directory / "log").glob("*.log"))
        }

    def new_failures(self) -> list[str]:
        """Records with level ERROR or a traceback, logged since this was last called."""
        found = []
        for path in sorted((self.directory / "log").glob("*.log")):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                raw = file.read()
            self._read[path] = self._read.get(path, 0) + len(raw)
            for record in _RECORD.split(raw.decode("utf-8", errors="replace")):
                if _BAD.search(record):
                    found.append(f"{path.name}: {record.rstrip()}")
        return found

    def _run(self, words: Sequence[str]) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "appliance.cli", *words, "--json"],
            capture_output=True,
            env=self._environ,
            text=True,
            check=False,
            timeout=300,
        )
        if done.returncode:
            raise CommandFailed(words, done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout)


def wait(
    ask: Callable[[], T],
    reached: Callable[[T], bool],
    what: str,
    limit_s: float = 60.0,
    every_s: float = 0.05,
) -> T:
    """Ask until ``reached`` says yes to the answer; fails the test after ``limit_s``."""
    deadline = time.monotonic() + limit_s
    while not reached(answer := ask()):
        assert time.monotonic() < deadline, f"waited {limit_s} s in vain for {what}: {answer}"
        time.sleep(every_s)
    return answer

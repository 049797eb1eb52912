"""A single-host cluster for the bench, by the commands people use."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


class Cluster:
    """``with Cluster(folder) as it``: up, gone afterwards. ``sets``: as ``--set`` of the CLI."""

    def __init__(self, folder: Path, *sets: str, servers: int = 3) -> None:
        self.folder = folder
        self._up = ["--sds", str(servers), "--no-mgmt", "--device-dir", f"{folder}-devices"]
        for setting in sets:
            self._up += ["--set", setting]
        self.env: dict[str, str] = {}

    def __enter__(self) -> "Cluster":
        try:
            self.basalt("local", "up", "--dir", str(self.folder), *self._up)
            self.env = self._environment()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self.basalt("local", "down", "--dir", str(self.folder), "--purge", "--yes")

    def basalt(self, *words: str) -> Any:
        """Run ``basalt``; what it printed, read as JSON if asked for."""
        done = subprocess.run(
            [sys.executable, "-m", "appliance.cli", *words],
            check=True, env={**os.environ, **self.env}, stdout=subprocess.PIPE, text=True,
            stdin=subprocess.DEVNULL, timeout=300,
        )  # fmt: skip
        if "--json" not in words:
            return done.stdout
        answer = json.loads(done.stdout)
        return answer["items"] if isinstance(answer, dict) and "items" in answer else answer

    def map(self, volume: str) -> str:
        """Make a volume of 1 GiB and map it without a block device; its NBD URI."""
        self.basalt("volume", "create", volume, "--size", "1G")
        sdc = self.basalt("sdc", "list", "--json")[0]["name"]
        self.basalt("volume", "map", volume, "--sdc", sdc, "--backend", "none")
        return str(self.basalt("volume", "show", volume, "--json")["mappings"][0]["uri"])

    def unmap(self, volume: str) -> None:
        self.basalt("volume", "unmap", volume)
        self.basalt("volume", "delete", volume, "--yes")

    def _environment(self) -> dict[str, str]:
        said = str(self.basalt("local", "env", "--dir", str(self.folder)))
        pairs = (line.removeprefix("export ").partition("=") for line in said.splitlines())
        return {key: value.strip("'\"") for key, _, value in pairs if key.startswith("BASALT")}

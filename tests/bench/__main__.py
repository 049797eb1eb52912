"""``make bench``: our volume beside stock nbdkit (and Ceph RBD where installed), the MDM's API,
and MGMT's pages; with ``--only rebuild`` a rebuild beside nbdcopy.

A single-host cluster with its devices on RAM, one run, medians of several rounds.
"""

import argparse
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from appliance.common import units
from appliance.rest import client
from tests.bench import block, candidates, control, pages, rebuild


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4, help="of each fio job")
    parser.add_argument("--only", default="block,control,pages")
    parser.add_argument("--size", type=units.parse_size, default=units.GIB, help="of rebuild")
    parser.add_argument("--json", type=Path, help="write every figure here too")
    wanted = parser.parse_args()
    if "pages" in wanted.only:
        print(pages.measure(), flush=True)
    if wanted.only == "pages":
        return
    work = Path(tempfile.mkdtemp(prefix="basalt-bench-", dir="/dev/shm"))
    cluster = work / "cluster"
    try:
        servers = "4" if "rebuild" in wanted.only else "3"
        devices = str(work / "devices")
        where = ("--dir", str(cluster), "--device-dir", devices)
        _basalt("local", "up", *where, "--sds", servers, "--no-mgmt")
        env = _environment(cluster)
        if "block" in wanted.only:
            _block(wanted, work, env)
        if "control" in wanted.only:
            print(control.measure(lambda: _connect(env)), flush=True)
        if "rebuild" in wanted.only:
            ask = functools.partial(_asked, env)
            print(rebuild.measure(ask, cluster, work, wanted.size), flush=True)
    finally:
        _basalt("local", "down", "--dir", str(cluster), "--purge", "--yes")
        shutil.rmtree(work, ignore_errors=True)


def _block(wanted: argparse.Namespace, work: Path, env: dict[str, str]) -> None:
    _basalt("volume", "create", "bench", "--size", "1G", env=env)
    sdc = _basalt("sdc", "list", "--json", env=env)[0]["name"]
    _basalt("volume", "map", "bench", "--sdc", sdc, "--backend", "none", env=env)
    uri = _basalt("volume", "show", "bench", "--json", env=env)["mappings"][0]["uri"]
    found: list[candidates.Candidate] = []
    try:
        found.append(candidates.Proxy(work))
        if candidates.ceph_installed():
            found.append(candidates.Ceph(work))
        found.append(candidates.Ours(uri))
        figures = block.measure(found, wanted.rounds, wanted.seconds, work)
    finally:
        for candidate in found:
            candidate.close()
    print(block.report(figures), flush=True)
    if wanted.json:
        wanted.json.write_text(json.dumps(figures, indent=1))
    _basalt("volume", "unmap", "bench", env=env)
    _basalt("volume", "delete", "bench", "--yes", env=env)


def _asked(env: dict[str, str], *words: str) -> Any:
    return _basalt(*words, "--json", env=env)


def _basalt(*words: str, env: dict[str, str] | None = None) -> Any:
    """Run ``basalt``; what it printed, read as JSON if asked for."""
    done = subprocess.run(
        [sys.executable, "-m", "appliance.cli", *words],
        check=True, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, text=True,
        stdin=subprocess.DEVNULL, timeout=300,
    )  # fmt: skip
    if "--json" not in words:
        return None
    answer = json.loads(done.stdout)
    return answer["items"] if isinstance(answer, dict) and "items" in answer else answer


def _environment(cluster: Path) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "appliance.cli", "local", "env", "--dir", str(cluster)],
        check=True, stdout=subprocess.PIPE, text=True, timeout=60,
    )  # fmt: skip
    pairs = (line.removeprefix("export ").partition("=") for line in done.stdout.splitlines())
    return {key: value.strip("'\"") for key, _, value in pairs if key.startswith("BASALT")}


def _connect(env: dict[str, str]) -> client.Client:
    token = Path(env["BASALT_TOKEN_FILE"]).read_text(encoding="utf-8").strip()
    return client.Client([env["BASALT_URL"]], token, timeout_s=30.0)


if __name__ == "__main__":
    main()

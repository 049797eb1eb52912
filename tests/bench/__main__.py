"""``make bench``: our volume beside stock nbdkit (and Ceph RBD where installed), the MDM's API,
and MGMT's pages; with ``--only rebuild`` a rebuild beside nbdcopy, with ``--only tls`` a volume
with TLS on data connections beside one without.

A single-host cluster with its devices on RAM, one run, medians of several rounds.
"""

import argparse
import functools
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from appliance.common import units
from appliance.rest import client
from tests.bench import block, candidates, cluster, control, pages, rebuild, secured


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
    try:
        if "tls" in wanted.only:
            print(secured.measure(wanted.rounds, wanted.seconds, work), flush=True)
        if wanted.only not in ("tls", "pages,tls"):
            _on_a_cluster(wanted, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _on_a_cluster(wanted: argparse.Namespace, work: Path) -> None:
    servers = 4 if "rebuild" in wanted.only else 3
    with cluster.Cluster(work / "cluster", servers=servers) as made:
        if "block" in wanted.only:
            _block(wanted, work, made)
        if "control" in wanted.only:
            print(control.measure(lambda: _connect(made.env)), flush=True)
        if "rebuild" in wanted.only:
            ask = functools.partial(_asked, made)
            mdm = _connect(made.env)
            print(rebuild.measure(ask, mdm, made.folder, work, wanted.size), flush=True)


def _block(wanted: argparse.Namespace, work: Path, made: cluster.Cluster) -> None:
    uri = made.map("bench")
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
    made.unmap("bench")


def _asked(made: cluster.Cluster, *words: str) -> Any:
    return made.basalt(*words, "--json")


def _connect(env: dict[str, str]) -> client.Client:
    token = Path(env["BASALT_TOKEN_FILE"]).read_text(encoding="utf-8").strip()
    return client.Client([env["BASALT_URL"]], token, timeout_s=30.0)


if __name__ == "__main__":
    main()

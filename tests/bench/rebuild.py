"""How fast a lost replica is made elsewhere, beside ``nbdcopy`` of the same bytes; what an
application feels of it; and what is copied when an SDS comes back instead.

All on RAM, one run. The volume has one column, so that each copy is from one device to another.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from appliance.cli.local import processes, state
from appliance.common import units
from appliance.domain import intents, model
from appliance.rest import client

#: ``basalt`` with these words; its answer read as JSON.
Basalt = Callable[..., Any]

MIB = units.MIB
_AWAY_BYTES = 100 * MIB
_LIMIT_S = 600.0


def measure(basalt: Basalt, mdm: client.Client, cluster: Path, work: Path, size: int) -> str:
    """A table. The cluster has four SDSs and no volume; it has none afterwards."""
    basalt("domain", "set", "default", "--rebuild-delay", "0")
    basalt("pool", "set", "default", "--no-rebalance", "--rebuild-policy", "unlimited")
    lines = [f"{'a replica of ' + units.format_size(size):52}{'MB/s':>8}{'s':>8}"]
    stock_s = _nbdcopy(work, size)
    lines.append(_row("nbdcopy from one stock server to another", size, stock_s))
    uri = _volume(basalt, mdm, size)
    _fio(uri, work, "write", "1M", size, "--fill_device=1")
    rebuild_s = _rebuild(mdm, cluster)
    lines.append(_row("rebuild, policy unlimited", size, rebuild_s))
    lines.append(f"{'rebuild / nbdcopy (aim 0.7)':52}{stock_s / rebuild_s:8.2f}")
    lines += _delta(basalt, mdm, cluster, uri, work, rebuild_s)
    lines += _application(basalt, mdm, uri, work)
    basalt("volume", "unmap", "bench-rebuild")
    basalt("volume", "delete", "bench-rebuild", "--yes")
    return "\n".join(lines)


def _volume(basalt: Basalt, mdm: client.Client, size: int) -> str:
    basalt("volume", "create", "bench-rebuild", "--size", str(size), "--columns", "1")
    sdc = basalt("sdc", "list")[0]["name"]
    basalt("volume", "map", "bench-rebuild", "--sdc", sdc, "--backend", "none")
    return str(_show(mdm)["mappings"][0]["uri"])


def _rebuild(mdm: client.Client, cluster: Path) -> float:
    """Kill an SDS for good; seconds that the copy of its replica elsewhere took."""
    lost = _show(mdm)["replicas"][0]["sds"]
    processes.kill(state.need(cluster).processes[lost])
    job = _job(mdm, "rebuild")
    return float(job["finished_at"] - job["started_at"])


def _delta(
    basalt: Basalt, mdm: client.Client, cluster: Path, uri: str, work: Path, full_s: float
) -> list[str]:
    """Write while an SDS is away for a moment; what its return costs."""
    _restart(cluster)
    basalt("domain", "set", "default", "--rebuild-delay", "3600")
    _until(lambda: _show(mdm)["health"] == "healthy" and not _marked(_show(mdm)))
    away = _show(mdm)["replicas"][0]["sds"]
    processes.kill(state.need(cluster).processes[away])
    _until(lambda: "stale" in {r["state"] for r in _show(mdm)["replicas"]})
    _fio(uri, work, "randwrite", "1M", _AWAY_BYTES)
    marked = _marked(_show(mdm))
    _restart(cluster)
    began = time.monotonic()
    _until(lambda: _show(mdm)["health"] == "healthy")
    took_s = time.monotonic() - began
    copied = _job(mdm, "resync")["total_bytes"]
    return [
        f"{'return after ' + units.format_size(_AWAY_BYTES) + ' written meanwhile':52}"
        f"{'':8}{took_s:8.1f}",
        f"  copied {units.format_size(copied)} (aim: at most the marked regions, "
        f"{units.format_size(marked)}); a full copy took {full_s:.1f} s",
    ]


def _marked(volume: dict[str, Any]) -> int:
    """Bytes of the regions that the copy in sync has marks of."""
    kept = next(r for r in volume["replicas"] if r["state"] == "in_sync")
    folder = Path(kept["device_path"]) / "volumes" / volume["id"]
    dirty = intents.union(*(file.read_bytes() for file in folder.glob("intent.*")))
    return sum(1 for _ in intents.dirty_regions(dirty)) * model.REGION_BYTES


def _application(basalt: Basalt, mdm: client.Client, uri: str, work: Path) -> list[str]:
    """p99 of 4 KiB writes, undisturbed and beside a move, with and without the default policy."""
    lines = [f"{'4 KiB random writes, depth 4: ms':52}{'p50':>8}{'p99':>8}"]
    lines.append(_latency("undisturbed", uri, work))
    for name, words in (
        ("beside a move, default policy", ["favour-application"]),
        ("beside a move, policy unlimited", ["unlimited"]),
    ):
        basalt("pool", "set", "default", "--rebuild-policy", *words)
        source = _show(mdm)["replicas"][0]["sds"]
        job = basalt("sds", "evacuate", source)["job"]
        _until(lambda: any(r["state"] == "syncing" for r in _show(mdm)["replicas"]))
        lines.append(_latency(name, uri, work))
        running = basalt("job", "show", job)["state"] == "running"
        lines[-1] += "" if running else "  (the move ended meanwhile)"
        basalt("sds", "evacuate", source, "--undo")
        _until(lambda: len(_show(mdm)["replicas"]) == 2)
        _until(lambda: _show(mdm)["health"] == "healthy")
    return lines


def _latency(name: str, uri: str, work: Path) -> str:
    out = _fio(uri, work, "randwrite", "4k", 256 * MIB, "--time_based", "--runtime=5")
    centiles = out["write"]["clat_ns"]["percentile"]
    p50, p99 = (centiles[key] / 1e6 for key in ("50.000000", "99.000000"))
    return f"{name:52}{p50:8.2f}{p99:8.2f}"


def _nbdcopy(work: Path, size: int) -> float:
    """Seconds for ``size`` random bytes from one stock file server to another, over TCP."""
    source, target = work / "copy-source", work / "copy-target"
    with source.open("wb") as file:
        subprocess.run(["head", "-c", str(size), "/dev/urandom"], stdout=file, check=True)
    with target.open("wb") as file:
        file.truncate(size)
    kits = [
        subprocess.Popen(
            ["nbdkit", "-f", "--exit-with-parent", "-i", "127.0.0.1", "-p", port, "file", str(path)]
        )
        for port, path in (("10974", source), ("10975", target))
    ]
    try:
        _until(lambda: all(_listens(port) for port in ("10974", "10975")))
        began = time.monotonic()
        subprocess.run(
            ["nbdcopy", "--flush", "nbd://127.0.0.1:10974", "nbd://127.0.0.1:10975"], check=True
        )
        return time.monotonic() - began
    finally:
        for kit in kits:
            kit.terminate()
            kit.wait()
        source.unlink()
        target.unlink()


def _listens(port: str) -> bool:
    asked = subprocess.run(
        ["nbdinfo", "--can", "connect", f"nbd://127.0.0.1:{port}"], check=False,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return asked.returncode == 0


def _fio(uri: str, work: Path, pattern: str, block: str, size: int, *more: str) -> dict[str, Any]:
    out = work / "fio-rebuild.json"
    subprocess.run(
        ["fio", "--name=j", "--ioengine=nbd", f"--uri={uri}", f"--rw={pattern}", f"--bs={block}",
         "--iodepth=4", f"--size={size}", "--end_fsync=1", "--output-format=json",
         f"--output={out}", *more],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=_LIMIT_S,
    )  # fmt: skip
    job: dict[str, Any] = json.loads(out.read_text())["jobs"][0]
    return job


def _restart(cluster: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "appliance.cli", "local", "up", "--dir", str(cluster)],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _show(mdm: client.Client) -> dict[str, Any]:
    """Not by the command, whose start costs as much processor as copying 100 MiB."""
    shown: dict[str, Any] = mdm.get("/api/v1/volumes/bench-rebuild")
    return shown


def _job(mdm: client.Client, kind: str) -> dict[str, Any]:
    """The newest job of that kind, once it is over."""
    found: list[dict[str, Any]] = []

    def over() -> bool:
        found[:] = [job for job in mdm.get("/api/v1/jobs")["items"] if job["kind"] == kind][:1]
        return bool(found) and found[0]["state"] != "running"

    _until(over)
    return found[0]


def _row(name: str, size: int, seconds: float) -> str:
    return f"{name:52}{size / seconds / 1e6:8.0f}{seconds:8.1f}"


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _LIMIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("not in time")
        time.sleep(0.1)

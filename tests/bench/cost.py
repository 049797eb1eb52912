"""What one operation costs: CPU time and context switches, of the plugin and of its data servers.

``python -m tests.bench.cost``. Unlike IOPS these hardly move when the machine is shared. Two data
servers and the real plugin, without agents; fio is the client, and is not counted.
"""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.fakes import legs

_SIZE = 256 << 20
_TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")

#: (name, fio's rw, block size, queue depth)
_JOBS = [
    ("randread 4k q32", "randread", "4k", 32),
    ("randwrite 4k q32", "randwrite", "4k", 32),
    ("randread 4k q1", "randread", "4k", 1),
    ("randwrite 4k q1", "randwrite", "4k", 1),
    ("read 1M q8", "read", "1M", 8),
    ("write 1M q8", "write", "1M", 8),
]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cost", description=__doc__)
    parser.add_argument("--seconds", type=int, default=4, help="of each fio job")
    parser.add_argument("--threads", type=int, default=4, help="of nbdkit, per connection")
    parser.add_argument("--columns", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=1, help="fio's processes, a connection each")
    parser.add_argument("--tcp", action="store_true", help="between the plugin and its servers")
    parser.add_argument("--only", default="", help="jobs whose name has this in it")
    wanted = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="basalt-cost-", dir="/dev/shm"))
    servers = [legs.LegServer(work / name, _SIZE) for name in "xy"]
    plugin = legs.PluginProcess(work / "plugin", threads=wanted.threads, life_s=3600)
    try:
        served = [server.serve(tcp=wanted.tcp) for server in servers]
        plugin.send_map(legs.make_map(served, _SIZE, 1, ncols=wanted.columns))
        plugin.status(generation=1, waiting="")
        handle = plugin.connect()
        for offset in range(0, _SIZE, 1 << 20):
            handle.pwrite(b"x" * (1 << 20), offset)
        print(f"{'':18}{'IOPS':>8}{'plugin us/op':>14}{'legs us/op':>12}{'switches/op':>13}")
        for job in _JOBS:
            if wanted.only in job[0]:
                _row(wanted, plugin, [server.pid for server in servers], work, *job)
    finally:
        plugin.close()
        for server in servers:
            server.kill()
        shutil.rmtree(work)


def _row(
    wanted: argparse.Namespace, plugin: legs.PluginProcess, server_pids: list[int], work: Path,
    name: str, pattern: str, block: str, depth: int,
) -> None:  # fmt: skip
    own = [plugin.process.pid]
    before = _cpu_us(own), _cpu_us(server_pids), _switches(own + server_pids)
    out = work / "fio.json"
    fio = subprocess.Popen(
        ["fio", "--name=j", "--ioengine=nbd", f"--uri=nbd+unix:///?socket={plugin.socket}",
         f"--rw={pattern}", f"--bs={block}", f"--iodepth={depth}", f"--runtime={wanted.seconds}",
         "--time_based", f"--size={_SIZE // 2}", f"--numjobs={wanted.jobs}", "--group_reporting",
         "--output-format=json", f"--output={out}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    # The switches of threads that ended are gone: look while they live.
    switches = 0
    while fio.poll() is None:
        switches = max(switches, _switches(own + server_pids))
        try:
            fio.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    after = _cpu_us(own), _cpu_us(server_pids)
    job = json.loads(out.read_text())["jobs"][0]["read" if "read" in pattern else "write"]
    done = job["total_ios"]
    print(
        f"{name:18}{job['iops']:8.0f}{(after[0] - before[0]) / done:14.1f}"
        f"{(after[1] - before[1]) / done:12.1f}{(switches - before[2]) / done:13.2f}",
        flush=True,
    )


def _cpu_us(pids: list[int]) -> float:
    """User and system time of all threads, also of those that ended."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks * _TICK_US


def _switches(pids: list[int]) -> int:
    """Voluntary context switches of the threads that live."""
    found = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            try:
                status = (task / "status").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            found += int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return found


if __name__ == "__main__":
    main()

"""Block I/O of several candidates in one run: the same fio jobs, round after round.

A machine whose speed drifts slows all of them alike, so what counts is the ratio between columns.
"""

import json
import statistics
import subprocess
from pathlib import Path

from tests.bench import candidates

#: (name, fio's rw, block size, queue depth)
JOBS = [
    ("randread 4k q32", "randread", "4k", 32),
    ("randwrite 4k q32", "randwrite", "4k", 32),
    ("randread 4k q1", "randread", "4k", 1),
    ("randwrite 4k q1", "randwrite", "4k", 1),
    ("read 1M q8", "read", "1M", 8),
    ("write 1M q8", "write", "1M", 8),
]

#: Ratios of our IOPS to another's that we aim at, by job.
AIMS = {
    "randread 4k q32": {"ceph": 1.1, "proxy": 0.75},
    "randwrite 4k q32": {"ceph": 2.5, "proxy": 0.6},
    "randread 4k q1": {"proxy": 0.75},
    "randwrite 4k q1": {"proxy": 0.75},
    "read 1M q8": {"proxy": 1.0},
    "write 1M q8": {"proxy": 0.6},
}


def measure(
    found: list[candidates.Candidate], rounds: int, seconds: int, work: Path
) -> dict[str, dict[str, list[float]]]:
    """IOPS by job and candidate, one figure a round, the candidates taking turns."""
    out = work / "fio.json"
    for candidate in found:  # fill once, so that reads meet written data
        fio(candidate, "write", "1M", 8, 3, out)
    figures: dict[str, dict[str, list[float]]] = {
        job[0]: {candidate.name: [] for candidate in found} for job in JOBS
    }
    for _ in range(rounds):
        for job, pattern, block, depth in JOBS:
            for candidate in found:
                iops = fio(candidate, pattern, block, depth, seconds, out)
                figures[job][candidate.name].append(iops)
    return figures


def report(figures: dict[str, dict[str, list[float]]], ours: str = "ours") -> str:
    """A table of median IOPS, our ratio to each other candidate, and the aim."""
    names = list(next(iter(figures.values())))
    others = [name for name in names if name != ours]
    lines = [f"{'median IOPS':18}" + "".join(f"{name:>10}" for name in names)
             + "".join(f"{ours + '/' + name:>20}" for name in others)]  # fmt: skip
    for job, by_name in figures.items():
        median = {name: statistics.median(values) for name, values in by_name.items()}
        line = f"{job:18}" + "".join(f"{median[name]:10.0f}" for name in names)
        for name in others:
            ratio = median[ours] / median[name]
            aim = AIMS[job].get(name)
            verdict = "" if aim is None else f" (aim {aim:g}{'' if ratio >= aim else ', missed'})"
            line += f"{ratio:6.2f}{verdict:14}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def fio(
    candidate: candidates.Candidate, pattern: str, block: str, depth: int, seconds: int, out: Path
) -> float:
    """IOPS of one job over half the volume."""
    subprocess.run(
        ["fio", "--name=j", *candidate.engine, f"--rw={pattern}", f"--bs={block}",
         f"--iodepth={depth}", f"--runtime={seconds}", "--time_based", "--size=512M",
         "--output-format=json", f"--output={out}"],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=seconds + 60,
    )  # fmt: skip
    job = json.loads(out.read_text())["jobs"][0]
    return float(job["read" if "read" in pattern else "write"]["iops"])

"""What TLS on data connections costs: the same volume with it and without, side by side."""

from pathlib import Path

from tests.bench import block, candidates, cluster
from tests.fakes import certificates


def measure(rounds: int, seconds: int, work: Path) -> str:
    folder = certificates.make(work / "tls")
    secure = [
        f"{role}.{setting}"
        for role in ("sds", "sdc")
        for setting in ("data_tls=required", f"tls_dir={folder}")
    ]
    with (
        cluster.Cluster(work / "plain") as plain,
        cluster.Cluster(work / "secure", *secure) as secured,
    ):
        found: list[candidates.Candidate] = [
            candidates.Ours(plain.map("bench"), "tls off"),
            candidates.Ours(secured.map("bench"), "tls on"),
        ]
        figures = block.measure(found, rounds, seconds, work)
        for each in (plain, secured):
            each.unmap("bench")
    return block.report(figures, ours="tls on")

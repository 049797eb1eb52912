"""What lies on the devices of a cluster: a volume's files, the space they take, their bytes."""

from pathlib import Path
from typing import Any

from tests.integration import local_cluster

UNIT = 1 << 20


def folders(cluster: local_cluster.LocalCluster, volume_id: str) -> list[Path]:
    """Everything any device has of the volume."""
    return [
        folder
        for device in cluster.device_dirs
        if (folder := device / "volumes" / volume_id).exists()
    ]


def used_bytes(cluster: local_cluster.LocalCluster, volume_id: str) -> int:
    """Bytes allocated to the volume's data on all devices together."""
    return sum((folder / "data").stat().st_blocks * 512 for folder in folders(cluster, volume_id))


def check_equal(
    cluster: local_cluster.LocalCluster, volume: dict[str, Any], expected: bytes | None = None
) -> None:
    """Compare both copies of every unit on disk, and with ``expected`` if given."""
    by_column: dict[int, list[Path]] = {}
    for replica in volume["replicas"]:
        assert replica["state"] == "in_sync", replica
        path = Path(replica["device_path"]) / "volumes" / volume["id"] / "data"
        by_column.setdefault(replica["column"], []).append(path)
    for column, paths in by_column.items():
        assert len(paths) == 2
        with paths[0].open("rb") as one, paths[1].open("rb") as two:
            for start in range(column * UNIT, volume["size_bytes"], UNIT * volume["columns"]):
                one.seek(start)
                two.seek(start)
                left, right = one.read(UNIT), two.read(UNIT)
                assert left == right, f"column {column} differs at unit {start // UNIT}"
                if expected is not None:
                    assert left == expected[start : start + UNIT], f"unit {start // UNIT}"

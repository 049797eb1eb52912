import os
from pathlib import Path

import pytest

from appliance.sdc.attach import busy


def test_the_mounts_of_this_process_are_read() -> None:
    found = list(busy.mounts())
    assert any(point == "/proc" and kind == "proc" for _number, point, kind in found)
    root = Path("/").stat().st_dev
    assert f"{os.major(root)}:{os.minor(root)}" in {number for number, _, _ in found}


@pytest.mark.parametrize(
    ("escaped", "path"),
    [("/mnt/a\\040b", "/mnt/a b"), ("/mnt/\\011\\134", "/mnt/\t\\"), ("/mnt/plain", "/mnt/plain")],
)
def test_escaped_paths_are_read_as_they_are(escaped: str, path: str) -> None:
    assert busy.unescaped(escaped) == path

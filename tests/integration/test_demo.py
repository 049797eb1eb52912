"""``make demo`` and ``make demo-down``, smaller."""

import subprocess
import sys
from pathlib import Path

import pytest

from appliance.cli.local import mounts, state


def _demo(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "appliance.cli.demo", *words],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_demo_tells_its_story_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    words = ["--dir", str(folder)]
    done = _demo("up", *words, "--size", "256MiB", "--copy", "48MiB", "--source", "/usr/lib")
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        assert "sds2 was killed while files were written: no error" in done.stdout
        assert "both copies are identical on disk" in done.stdout
        assert "The cluster is degraded" in done.stdout
        assert "all of it" in done.stdout
        assert "user admin, password " in done.stdout
        run_dir = state.need(folder).run_dir
    finally:
        down = _demo("down", *words)
    assert down.returncode == 0, down.stdout + down.stderr
    assert not folder.exists()
    assert not run_dir.exists()
    assert mounts.under(tmp_path) == []
    assert _demo("down", *words).returncode == 0

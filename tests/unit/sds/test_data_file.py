"""The agent's own descriptor: used by many, closed once nobody is at it."""

import os
from pathlib import Path

import pytest

from appliance.common import errors
from appliance.sds import data_file


def test_sync_use_and_close(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(os.urandom(1 << 20))
    data = data_file.DataFile(path)
    data.sync()
    assert data.used_bytes() >= 1 << 20
    assert os.fstat(data.fileno()).st_ino == path.stat().st_ino
    data.close()
    data.close()
    assert data.used_bytes() == 0
    with pytest.raises(errors.Unavailable, match="closed"):
        data.sync()


def test_error_fails_the_device(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    data = data_file.DataFile(tmp_path / "pipe")  # a pipe cannot be synced
    with pytest.raises(errors.DeviceFailed, match="fdatasync"):
        data.sync()
    data.close()

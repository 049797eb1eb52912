from pathlib import Path

import pytest

from appliance.common import errors
from appliance.sdc import config, plugin_process, records

RECORD = records.Record("m1", "v1", "vol", True, "boot", incarnation="i1")


def test_the_command_line_is_as_agreed_with_the_plugin(tmp_path: Path) -> None:
    cfg = config.Config(run_dir=tmp_path, plugin_threads=6)
    folder = records.Folder(tmp_path, "m1")
    root = plugin_process.PACKAGES
    assert plugin_process.command(cfg, folder, RECORD) == [
        "nbdkit", "-f", "-U", f"{tmp_path}/m1/nbd.sock", "-t", "6", "python",
        f"{root}/nbd_plugin/plugin.py", f"path={root}", "incarnation=i1",
        f"link={tmp_path}/m1/link.sock", "volume=v1", "read_only=1",
    ]  # fmt: skip
    assert (root / "appliance" / "sdc").is_dir()


def test_the_plugin_is_told_of_tls_where_there_is_any(tmp_path: Path) -> None:
    cfg = config.Config(run_dir=tmp_path, data_tls="required", tls_dir=Path("/tls"))
    argv = plugin_process.command(cfg, records.Folder(tmp_path, "m1"), RECORD)
    assert argv[-2:] == ["tls=required", "tls_dir=/tls"]


def test_logs_go_to_the_agents_stderr_unless_told_otherwise(tmp_path: Path) -> None:
    assert plugin_process.log_file(config.Config(), "v1") is None
    cfg = config.Config(plugin_log_dir=str(tmp_path))
    assert plugin_process.log_file(cfg, "v1") == tmp_path / "v1.log"


def test_a_run_dir_whose_sockets_would_be_too_long_is_refused() -> None:
    # 107 bytes less /<16 digits>/link.sock
    plugin_process.check_run_dir(Path("/" + "x" * 79))
    with pytest.raises(errors.BadConfig, match="run_dir"):
        plugin_process.check_run_dir(Path("/" + "x" * 80))

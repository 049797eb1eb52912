"""The nbdkit process of one incarnation: its command line, its start, and finding it again."""

import contextlib
import logging
from pathlib import Path

from appliance.common import errors, tls
from appliance.sdc import config, launch, processes, records

logger = logging.getLogger(__name__)

#: The folder that holds the packages ``appliance`` and ``nbd_plugin``.
PACKAGES = Path(__file__).resolve().parents[2]

#: Longest path of a Unix socket (sun_path less its final zero).
_SOCKET_PATH_LIMIT = 107


def command(cfg: config.Config, folder: records.Folder, record: records.Record) -> list[str]:
    """The command line of nbdkit. It has nothing secret in it."""
    script = Path(cfg.plugin) if cfg.plugin else PACKAGES / "nbd_plugin" / "plugin.py"
    secured = [f"tls={cfg.data_tls}", f"tls_dir={cfg.tls_dir}"] if cfg.data_tls != tls.OFF else []
    return [
        "nbdkit",
        "-f",
        "-U",
        str(folder.nbd_socket),
        "-t",
        str(cfg.plugin_threads),
        "python",
        str(script),
        f"path={PACKAGES}",
        f"incarnation={record.incarnation}",
        f"link={folder.link_socket}",
        f"volume={record.volume_id}",
        f"read_only={int(record.read_only)}",
        *secured,
    ]


def start(
    cfg: config.Config,
    launcher: launch.Launcher,
    folder: records.Folder,
    record: records.Record,
) -> processes.Process:
    """Start the plugin of ``record.incarnation``. It is ready once its link answers. OSError."""
    folder.make()
    for left_over in (folder.nbd_socket, folder.link_socket):
        # nbdkit leaves its socket behind, and refuses to start where one is.
        with contextlib.suppress(FileNotFoundError):
            left_over.unlink()
    process = launcher.start(
        launch.VOLUME,
        record.mapping_id,
        command(cfg, folder, record),
        log_file(cfg, record.volume_id),
    )
    logger.info(
        "plugin_started volume=%s incarnation=%s pid=%d",
        record.volume_id,
        record.incarnation,
        process.ident.pid,
    )
    return process


def find(record: records.Record) -> processes.Process | None:
    """The plugin of ``record`` that an earlier agent started, if it still runs.

    One that was started but not yet written down has no map, and may hold the sockets: it is
    ended.
    """
    if record.plugin is not None:
        return processes.Process.adopt(record.plugin)
    if record.incarnation:
        for ident in processes.with_argument(f"incarnation={record.incarnation}"):
            process = processes.Process.adopt(ident)
            if process is not None:
                logger.warning("plugin_orphan pid=%d", ident.pid)
                process.kill()
                process.wait(1.0)
                process.close()
    return None


def log_file(cfg: config.Config, volume_id: str) -> Path | None:
    """Where a mapping's processes write; None for the agent's own stderr."""
    return Path(cfg.plugin_log_dir) / f"{volume_id}.log" if cfg.plugin_log_dir else None


def check_run_dir(run_dir: Path) -> None:
    """Raises errors.BadConfig if sockets in ``run_dir`` would have too long a path."""
    longest = records.Folder(run_dir, "0" * 16).link_socket
    if len(str(longest).encode()) > _SOCKET_PATH_LIMIT:
        raise errors.BadConfig(
            file="configuration",
            key="run_dir",
            why=f"{run_dir} is too long: the path of a socket in it ({longest}) may have "
            f"{_SOCKET_PATH_LIMIT} bytes",
        )

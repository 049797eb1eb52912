"""Puts the SDC agent together; nothing is wired anywhere else. Called by ``__main__``."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from appliance.agent import identity, process
from appliance.common import clock, daemon, tls
from appliance.rest import server
from appliance.sdc import (
    agent,
    config,
    control,
    ground,
    launch,
    mappings,
    plugin_process,
    starts,
)
from appliance.sdc.attach import choose, fuse_loop, interface, nbd_kernel, none

logger = logging.getLogger(__name__)


def run(cfg: config.Config, stop: threading.Event) -> None:
    """Be a client until ``stop``. Raises BasaltError or OSError if it cannot start.

    Plugins and devices outlive it: the next agent takes them up.
    """
    process.raise_descriptor_limit()
    tls.checked(cfg.data_tls, cfg.tls_dir, "client")
    plugin_process.check_run_dir(cfg.run_dir)
    cfg.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if cfg.plugin_log_dir:
        Path(cfg.plugin_log_dir).mkdir(mode=0o700, parents=True, exist_ok=True)
    boot_id = process.boot_id(cfg.boot_id_file)
    store = identity.Store(cfg.data_dir, "sdc")
    wake = _Late()
    held = mappings.Mappings(make_ground(cfg, boot_id, wake))
    held_agent = agent.Agent(cfg, store, held, boot_id)
    loop = daemon.Loop("sdc-agent", cfg.poll_s, held_agent.run_once)
    wake.use(loop.wake)
    application = control.create(held_agent, held, loop.wake)
    http = server.serve(application, cfg.host, cfg.control_port, cfg.control_threads)
    held_agent.control_port = http.port
    held.adopt()
    loop.start()
    logger.info("ready port=%d", http.port)
    daemon.run_until(stop, loop)
    http.close()
    loop.stop()
    held.close()
    held_agent.close()
    store.close()
    logger.info("stopped")


def make_ground(cfg: config.Config, boot_id: str, news: Callable[[], None]) -> ground.Ground:
    """What mappings stand on, on this host."""
    log_file = Path(cfg.plugin_log_dir) / "devices.log" if cfg.plugin_log_dir else None
    launcher: launch.Launcher = launch.Children()
    if cfg.systemd_units:
        launcher = launch.Units(cfg.run_dir, cfg.tool_timeout_s)
    backends: dict[str, interface.Backend] = {
        choose.NBD: nbd_kernel.NbdKernel(
            cfg.connections, cfg.nbd_timeout_s, cfg.nbd_dead_timeout_s, cfg.tool_timeout_s
        ),
        choose.FUSE: fuse_loop.FuseLoop(
            launcher, cfg.connections, cfg.tool_timeout_s, cfg.stop_timeout_s, log_file
        ),
        choose.NONE: none.NoDevice(),
    }
    return ground.Ground(
        cfg=cfg,
        launcher=launcher,
        boot_id=boot_id,
        backends=backends,
        probes=choose.host_probes(cfg.tool_timeout_s),
        starts=starts.Starts(),
        clock=clock.SystemClock(),
        news=news,
    )


class _Late:
    """A callable whose target is known only later: mappings and loop need each other."""

    def __init__(self) -> None:
        self._target: Callable[[], None] = _nothing

    def use(self, target: Callable[[], None]) -> None:
        self._target = target

    def __call__(self) -> None:
        self._target()


def _nothing() -> None:
    """Before there is a loop nobody need be woken."""

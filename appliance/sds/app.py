"""Puts the SDS agent together; nothing is wired anywhere else. Called by ``__main__``."""

import logging
import threading
from concurrent import futures

from appliance.agent import process
from appliance.common import clock, daemon, tls
from appliance.rest import server
from appliance.sds import (
    agent,
    config,
    control,
    devices,
    exports,
    leg_state,
    legs,
    processes,
    registry,
)

logger = logging.getLogger(__name__)

#: Legs worked on at once: sealing waits for the disk and for processes to die, not for a core.
_WORKERS = 8

#: Background fdatasyncs at once, apart from the workers so that a slow disk holds up no turn.
_FLUSHERS = 4

_HTTP_THREADS = 4


def run(settings: config.Config, stop: threading.Event) -> None:
    """Be an SDS until ``stop``. Raises BasaltError or OSError if it cannot start.

    All data servers end with it; the devices keep everything.
    """
    process.raise_descriptor_limit()
    boot_id = process.boot_id(settings.boot_id_file)
    store = registry.Registry(settings.data_dir)
    starter = processes.Starter()
    data_tls = tls.checked(settings.data_tls, settings.tls_dir, "server")
    if data_tls.on:  # copies are its clients
        tls.checked(settings.data_tls, settings.tls_dir, "client")
    served = exports.Exports(
        settings.run_dir,
        settings.host,
        (settings.data_port_first, settings.data_port_last),
        starter,
        data_tls,
    )
    held_legs = legs.Legs()
    held_devices = devices.Devices(
        store,
        boot_id,
        settings.ballast_bytes,
        on_open=held_legs.open,
        on_lost=held_legs.lost,
        on_gone=held_legs.drop,
    )
    held_agent = agent.Agent(settings, store, held_devices, held_legs, boot_id, clock.SystemClock())
    loop = daemon.Loop("sds-agent", settings.poll_s, held_agent.run_once)
    workers = futures.ThreadPoolExecutor(_WORKERS, "sds-leg")
    flushers = futures.ThreadPoolExecutor(_FLUSHERS, "sds-flush")
    held_legs.use(
        leg_state.Tools(
            devices=held_devices,
            exports=served,
            starter=starter,
            workers=workers,
            flushers=flushers,
            death_limit_s=settings.death_limit_s,
            data_tls=data_tls,
            changed=loop.wake,
        )
    )
    http = server.serve(
        control.create(held_agent, held_devices, held_legs, loop.wake),
        settings.host,
        settings.control_port,
        _HTTP_THREADS,
    )
    held_agent.control_port = http.port
    loop.start()
    logger.info("ready port=%d", http.port)
    daemon.run_until(stop, loop)
    http.close()
    loop.stop()
    held_legs.kill()
    workers.shutdown(cancel_futures=True)
    flushers.shutdown(cancel_futures=True)
    held_legs.stop()
    starter.close()
    held_agent.close()
    store.close()
    logger.info("stopped")

"""The process of a role: configuration, signals, exit codes; and what MDM and MGMT, which others
reach at a fixed port, do beside that. Called by each role's ``__main__`` and composition root.
"""

import argparse
import errno
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from appliance.common import config, daemon, errors, log
from appliance.protocol import status

logger = logging.getLogger(__name__)

#: How often a taken port is tried again.
_AGAIN_S = 1.0


class Settings(Protocol):
    """What every role's configuration has."""

    @property
    def log_level(self) -> str: ...


class ServiceSettings(Settings, Protocol):
    """What the configuration of a role that is reached at a fixed port has."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...


class Service(Protocol):
    """What runs; ``loop`` is the one whose turns feed systemd's watchdog."""

    loop: daemon.Loop

    def close(self) -> None: ...


S = TypeVar("S", bound=Settings)
T = TypeVar("T", bound=ServiceSettings)


def main(
    role: str,
    settings_class: type[S],
    run: Callable[[S, threading.Event], None],
    given: argparse.Namespace,
) -> int:
    """Show the configuration, or ``run`` with it until a signal. Returns the exit status."""

    def body() -> None:
        settings = config.load(settings_class, given.config_dir, given.set)
        if given.show_config:
            print(config.show(settings))
            return
        log.setup(role, settings.log_level)
        run(settings, daemon.stop_event_on_signals())

    return told(role, body)


def told(role: str, body: Callable[[], None]) -> int:
    """Do ``body``; what it cannot do is told on stderr. The exit status is protocol.status's."""
    try:
        body()
    except (errors.BasaltError, OSError) as exc:
        print(f"basalt-{role}: {exc}", file=sys.stderr)
        return status.meaning(exc).exit
    return 0


def serve(settings: T, stop: threading.Event, make: Callable[[T], Service]) -> None:
    """Run what ``make`` starts until ``stop``. Raises errors.Unavailable if it cannot listen.

    While another program has the port this says so and waits: nothing is begun before, so that
    trying again costs nothing.
    """
    if not _port_had(settings.host, settings.port, stop):
        return
    try:
        service = make(settings)
    except OSError as exc:
        raise errors.Unavailable(why=f"cannot start: {exc}") from exc
    try:
        daemon.run_until(stop, service.loop)
    finally:
        service.close()


def prepare_folder(data_dir: Path) -> None:
    """Make the folder of a role's database if there is none. Raises errors.BadConfig."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise errors.BadConfig(
            file=str(data_dir), key="data_dir", why=exc.strerror or str(exc)
        ) from exc


def write_port(file: str, port: int) -> None:
    """Tell a starter that waits for it, whole or not at all; nothing if ``file`` is empty."""
    if file:
        temporary = Path(f"{file}.new")
        temporary.write_text(f"{port}\n", encoding="ascii")
        temporary.rename(file)


def _port_had(host: str, port: int, stop: threading.Event) -> bool:
    """Wait until the port can be listened at; whether that came before ``stop``."""
    waiting = False
    while not stop.is_set():
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            socket.create_server((host, port), family=family).close()
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                raise errors.Unavailable(why=f"cannot start: {exc}") from exc
            if not waiting:
                logger.warning(
                    "port_taken port=%d hint=end what has it (ss -ltnp names it), or set another "
                    "port; trying again until then",
                    port,
                )
            waiting = True
            time.sleep(_AGAIN_S)  # not stop.wait, as in daemon.run_until
        else:
            return True
    return False

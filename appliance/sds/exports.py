"""Data servers: one stock nbdkit per (volume, device, generation), under unguessable names.

Called by ``legs``, which decides when a server may start: once per generation (R4). A server's
sockets listen before it is started, so that it is ready as soon as ``open`` returns.
"""

import itertools
import logging
import os
import secrets
import shutil
import socket
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from appliance.agent import identity
from appliance.common import errors, tls
from appliance.sds import processes, replica_store

logger = logging.getLogger(__name__)

#: Longest path of a Unix socket (unix(7)), less what is added to run_dir here.
RUN_DIR_LIMIT = 107 - len("/01234567/nbd.sock")

_BACKLOG = 128


@dataclass(frozen=True, slots=True)
class Export:
    """A server that was started. The names are the right to write: never logged."""

    generation: int
    port: int
    socket: str
    data_export: str
    sums_export: str
    intents: dict[str, str]
    folder: Path
    process: processes.Process


class Exports:
    """Starts and ends data servers. Thread-safe.

    ``run_dir`` is emptied: what is in it is of a dead agent. Raises errors.BadConfig if its path
    is too long, errors.Conflict if another agent uses it, errors.Unavailable without nbdkit.
    """

    def __init__(
        self,
        run_dir: Path,
        host: str,
        ports: tuple[int, int],
        starter: processes.Starter,
        data_tls: tls.DataTls,
    ) -> None:
        if len(os.fsencode(run_dir)) > RUN_DIR_LIMIT:
            why = f"longer than {RUN_DIR_LIMIT} bytes, too long for the path of a Unix socket"
            raise errors.BadConfig(file="run_dir", key=str(run_dir), why=why)
        run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_fd = identity.hold_alone(run_dir, "sds")
        for entry in list(os.scandir(run_dir)):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
        nbdkit = shutil.which("nbdkit")
        if nbdkit is None:
            raise errors.Unavailable(why="nbdkit is not installed; install the package nbdkit")
        self._nbdkit = nbdkit
        self._run_dir = run_dir
        self._host = host
        first, last = ports
        self._ports = itertools.cycle(range(first, last + 1))
        self._port_count = last + 1 - first
        self._ports_lock = threading.Lock()
        self._starter = starter
        self._tls = data_tls

    def open(
        self,
        replica: replica_store.Replica,
        generation: int,
        incarnations: Collection[str],
        lock_fd: int,
        on_exit: Callable[[], None],
    ) -> Export:
        """Start the server of ``generation``. ``lock_fd`` holds the shared flock it inherits.

        Raises OSError or errors.Unavailable; then nothing runs.
        """
        folder = self._run_dir / secrets.token_hex(4)
        names = {replica.data: secrets.token_hex(16), replica.sums: secrets.token_hex(16)}
        for incarnation in incarnations:
            names[replica.intent(incarnation)] = secrets.token_hex(16)
        exported = folder / "exports"
        folder.mkdir(mode=0o700)
        # This SDS's group may go to the socket in it: clients on this host run as another user.
        folder.chmod(0o710)
        try:
            exported.mkdir(mode=0o700)
            for file, name in names.items():
                (exported / name).symlink_to(file)
            with self._listen_tcp() as tcp, _listen_unix(folder / "nbd.sock") as unix:
                process = self._start(exported, tcp, unix, lock_fd, on_exit)
                port = tcp.getsockname()[1]
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return Export(
            generation=generation,
            port=port,
            socket=str(folder / "nbd.sock"),
            data_export=names[replica.data],
            sums_export=names[replica.sums],
            intents={inc: names[replica.intent(inc)] for inc in incarnations},
            folder=folder,
            process=process,
        )

    def withdraw(self, export: Export, incarnation: str) -> None:
        """No new connection finds this intent file any more."""
        name = export.intents.pop(incarnation, None)
        if name is not None:
            (export.folder / "exports" / name).unlink(missing_ok=True)

    def close(self, export: Export, limit_s: float) -> None:
        """SIGKILL the server and wait for its end. Its end is proved by the fence, not here."""
        export.process.kill()
        export.process.wait(limit_s)
        shutil.rmtree(export.folder, ignore_errors=True)

    def _start(
        self,
        exported: Path,
        tcp: socket.socket,
        unix: socket.socket,
        lock_fd: int,
        on_exit: Callable[[], None],
    ) -> processes.Process:
        # nbdkit takes sockets only if LISTEN_PID is its own pid, which exec keeps.
        argv = ["/bin/sh", "-c", 'export LISTEN_PID=$$; exec "$@"', "sh", self._nbdkit]
        argv += ["-f", "--exit-with-parent", "-t", "1", *self._tls.server_arguments()]
        argv += ["--filter=exportname", "file"]
        argv += [f"dir={exported}", "exportname-list=empty"]
        return self._starter.start(
            argv,
            {3: tcp.fileno(), 4: unix.fileno(), 5: lock_fd},
            {"PATH": os.environ.get("PATH", os.defpath), "LISTEN_FDS": "2"},
            on_exit,
        )

    def _listen_tcp(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        for _ in range(self._port_count):
            with self._ports_lock:
                port = next(self._ports)
            try:
                return socket.create_server((self._host, port), family=family, backlog=_BACKLOG)
            except OSError as exc:
                logger.debug("port_taken port=%d why=%s", port, exc.strerror)
        raise errors.Unavailable(
            why=f"none of the {self._port_count} data ports of this SDS is free; "
            "widen data_port_first and data_port_last"
        )


def _listen_unix(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(path))
        path.chmod(0o660)
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock

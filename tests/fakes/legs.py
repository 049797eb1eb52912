"""Stands in for the MDM and the SDS agents: real nbdkit data servers and a hand-made map.

For tests of the plugin alone; the servers are the same stock nbdkit the SDS agent starts.
"""

import contextlib
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbd

from appliance.domain import intents, model
from appliance.protocol import codec

_ROOT = Path(__file__).resolve().parents[2]


#: Commands of nbdkit's log filter that its entries are made of.
_LOGGED = re.compile(
    r"(?P<time>\S+ \S+) connection=(?P<connection>\d+) (?P<end>\.\.\.)?(?P<op>[A-Z]\w+)(?P<rest>.*)"
)

#: ``LegServer.serve(**SCRIPTED)`` serves by shell commands; where ``no-flush`` exists, flush fails.
_SCRIPTS = {
    "open": "echo $3",
    "get_size": "stat -L -c %s {run}/$2",
    "pread": "dd if={run}/$2 iflag=skip_bytes,count_bytes skip=$4 count=$3 status=none",
    "pwrite": "dd of={run}/$2 oflag=seek_bytes seek=$4 conv=notrunc status=none",
    "can_write": "exit 0",
    "can_flush": "exit 0",
    "can_fua": "echo native",
    "flush": "if [ -e {folder}/no-flush ]; then echo EIO lost a page >&2; exit 1; fi",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A command that a server answered. ``intent``: it was about the intent file."""

    began: str
    ended: str
    op: str
    intent: bool
    offset: int
    count: int
    fua: bool


class LegServer:
    """One device's part of one volume: a folder with ``data`` and an intent file, served."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self.device_id = folder.name
        self.size = size
        folder.mkdir(parents=True, exist_ok=True)
        for name, length in (("data", size), ("intent", intents.file_length(size))):
            with (folder / name).open("ab") as file:
                file.truncate(length)
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = 0
        self._command: list[str] = []

    def serve(
        self,
        filters: Iterable[str] = (),
        arguments: Iterable[str] = (),
        scripted: bool = False,
        tcp: bool = False,
        holding: bool = False,
    ) -> model.Leg:
        """Start a server with new names, as a new generation does.

        ``scripted``: one whose flush fails while the file ``no-flush`` exists in the folder.
        ``holding``: see ``holding_server``; what it is told is a file in the folder.
        """
        self.kill()
        self._turn += 1
        run = self.folder / f"run{self._turn}"
        run.mkdir()
        names = [secrets.token_hex(16) for _ in range(2)]
        for name, target in zip(names, ("data", "intent"), strict=True):
            (run / name).symlink_to(self.folder / target)
        sock = self.folder / f"{self._turn}.sock"
        command = ["nbdkit", "-f", "--exit-with-parent", "-t", "1", "-U", str(sock)]
        if holding:
            plugin = Path(__file__).with_name("holding_server.py")
            command += ["python", str(plugin), f"dir={run}", f"folder={self.folder}"]
        elif scripted:
            texts = {k: t.format(run=run, folder=self.folder) for k, t in _SCRIPTS.items()}
            command += ["eval", *(f"{name}={text}" for name, text in texts.items())]
        else:
            command += [f"--filter={name}" for name in ("exportname", *filters)]
            command += ["file", f"dir={run}", "exportname-list=empty", *arguments]
        port = 0
        if tcp:
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", 0))
                listener.listen()
                port = listener.getsockname()[1]
                listener.set_inheritable(True)
                # nbdkit takes a listening socket as descriptor 3 from whoever started it.
                command = [part for part in command if part not in ("-U", str(sock))]
                shell = f'exec 3<&{listener.fileno()}; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@"'
                command = ["bash", "-c", shell, "bash", *command]
                self._process = subprocess.Popen(command, pass_fds=[listener.fileno()])
            return model.Leg(
                self.device_id, "sds", self.device_id, ("127.0.0.1",), port, "", *names
            )
        self._command = command
        self._process = subprocess.Popen(command)
        until(lambda: _listens(sock))
        return model.Leg(
            self.device_id, f"sds-{self.device_id}", self.device_id, (), 0, str(sock), *names
        )

    def serve_again(self) -> None:
        """Start a second server under the names of the last one, as nobody may (R4)."""
        self.kill()
        sock = self.folder / f"{self._turn}.sock"
        sock.unlink()
        self._process = subprocess.Popen(self._command)
        until(lambda: _listens(sock))

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Freeze the server; its connections stay up. Returns when every thread has stopped."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def pause(self) -> None:
        """Answer no request; connections are still taken. Needs filter and argument ``pause``."""
        self._control(b"p", b"P")

    def resume(self) -> None:
        self._control(b"r", b"R")

    @property
    def pause_argument(self) -> str:
        return f"pause-control={self.folder / 'pause.sock'}"

    def _control(self, command: bytes, answer: bytes) -> None:
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(10)
            control.connect(str(self.folder / "pause.sock"))
            control.sendall(command)
            assert control.recv(1) == answer

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def read(self, offset: int = 0, length: int = -1) -> bytes:
        with (self.folder / "data").open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def overwrite(self, offset: int, data: bytes) -> None:
        """Change the bytes behind the server's back."""
        with (self.folder / "data").open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def logged(self, op: str = "") -> list[Entry]:
        """What a server with ``logging()`` answered, in that order."""
        exports: dict[str, bool] = {}
        begun: dict[tuple[str, str], tuple[str, str]] = {}
        entries = []
        for found in filter(None, map(_LOGGED.match, self._log.read_text().splitlines())):
            connection, rest = found["connection"], found["rest"]
            fields = dict(re.findall(r"(\w+)=(\S+)", rest))
            if found["op"] == "Connect":
                exports[connection] = int(fields["size"], 16) == intents.file_length(self.size)
            elif found["end"] and found["op"] == "Disconnect":
                continue
            elif found["end"]:
                at, asked = begun.pop((connection, fields["id"]))
                told = dict(re.findall(r"(\w+)=(\S+)", asked))
                offset, count = (int(told.get(key, "0"), 16) for key in ("offset", "count"))
                fua = told.get("fua") == "1"
                intent = exports[connection]
                entries.append(Entry(at, found["time"], found["op"], intent, offset, count, fua))
            elif "id" in fields:
                begun[connection, fields["id"]] = found["time"], rest
        return [entry for entry in entries if op in ("", entry.op)]

    @property
    def _log(self) -> Path:
        return self.folder / "requests.log"

    def logging(self) -> dict[str, Any]:
        """Arguments of ``serve`` for a server whose answers ``logged`` shows."""
        return {"filters": ["log"], "arguments": [f"logfile={self._log}"]}

    def dirty(self) -> set[int]:
        return set(intents.dirty_regions((self.folder / "intent").read_bytes()))


class PluginProcess:
    """The real plugin in a real nbdkit, with this object as its agent.

    It is killed after ``life_s``: a call that is held for ever then fails, in the test that made
    it, where no signal ends a wait inside libnbd.
    """

    def __init__(
        self, folder: Path, threads: int = 6, read_only: bool = False, life_s: float = 60.0
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.socket = str(folder / "nbd.sock")
        self.incarnation = secrets.token_hex(8)
        link = folder / "link.sock"
        self.log = folder / "plugin.log"
        self._handles: list[nbd.NBD] = []
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["nbdkit", "-f", "-U", self.socket, "-t", str(threads), "python",
                 str(_ROOT / "nbd_plugin" / "plugin.py"), f"path={_ROOT}", "volume=v",
                 f"incarnation={self.incarnation}", f"link={link}",
                 f"read_only={int(read_only)}"],
                stderr=log,
            )  # fmt: skip
        self._life = threading.Timer(life_s, self.process.kill)
        self._life.daemon = True
        self._life.start()
        until(link.exists)
        self._path = str(link)
        self.attach()

    def attach(self) -> None:
        """Connect to the plugin as a (new) agent."""
        self.link = socket.socket(socket.AF_UNIX)
        until(lambda: self.link.connect_ex(self._path) == 0)
        self.link.settimeout(20)
        self._lines = self.link.makefile("r")

    def send_raw(self, data: bytes) -> None:
        self.link.sendall(data)

    def send(self, **message: Any) -> None:
        self.link.sendall(json.dumps(message).encode() + b"\n")

    def send_map(self, volume_map: model.VolumeMap) -> None:
        self.send(op="map", incarnation=self.incarnation, map=codec.to_json(volume_map))

    def wait_for(self, **wanted: Any) -> dict[str, Any]:
        """The first message with these values, or that satisfies these predicates, by field.

        Raises TimeoutError, with the last message, if none comes in time.
        """
        deadline = time.monotonic() + 15
        while True:
            message: dict[str, Any] = json.loads(self._lines.readline())
            if all(
                key in message
                and (value(message[key]) if callable(value) else message[key] == value)
                for key, value in wanted.items()
            ):
                return message
            if time.monotonic() > deadline:
                raise TimeoutError(f"not told in time: {wanted}; told: {message}")

    def status(self, **wanted: Any) -> dict[str, Any]:
        return self.wait_for(op="status", **wanted)

    def connect(self, export: str = "") -> nbd.NBD:
        handle = nbd.NBD()
        handle.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
        handle.set_export_name(export)
        handle.connect_unix(self.socket)
        self._handles.append(handle)
        return handle

    def close(self) -> None:
        """Fail what is held and leave, so that nbdkit, which waits for its clients, ends."""
        with contextlib.suppress(OSError):
            self.send(op="fail", why="the test is over")
        for handle in self._handles:
            with contextlib.suppress(nbd.Error, TimeoutError):
                until(lambda handle=handle: handle.aio_in_flight() == 0)
                handle.shutdown()
        self.link.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._life.cancel()


def make_map(
    legs: Iterable[model.Leg],
    size: int,
    generation: int,
    ncols: int = 3,
    version: int = 1,
    states: dict[str, model.ReplicaState] | None = None,
    **fields: Any,
) -> model.VolumeMap:
    """A map whose column c lies on legs c and c+1 (mod their number)."""
    legs = tuple(legs)
    states = states or {}

    def replica(index: int) -> model.Replica:
        device = legs[index % len(legs)].device_id
        return model.Replica(device, states.get(device, model.ReplicaState.IN_SYNC))

    return model.VolumeMap(
        "v", "v", size, fields.pop("thin", True), generation, version,
        tuple((replica(c), replica(c + 1)) for c in range(ncols)), legs, **fields,
    )  # fmt: skip


class Doing:
    """A call that may be held, on a thread of its own."""

    def __init__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._outcome: tuple[Any, BaseException | None] | None = None
        self._thread = threading.Thread(
            target=self._run, args=(function, args, kwargs), name="doing", daemon=True
        )
        self._thread.start()

    def _run(self, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
        try:
            self._outcome = function(*args, **kwargs), None
        except Exception as exc:  # noqa: BLE001 - whoever asks for the result gets it
            self._outcome = None, exc

    @property
    def done(self) -> bool:
        return self._outcome is not None

    def result(self, limit_s: float = 20.0) -> Any:
        """What the call returned or raised. Raises TimeoutError if it is held for too long."""
        self._thread.join(limit_s)
        if self._outcome is None:
            raise TimeoutError("the call is still held")
        value, error = self._outcome
        if error is not None:
            raise error
        return value


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == 0


def until(condition: Any, limit_s: float = 10.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("not in time")
        time.sleep(0.005)

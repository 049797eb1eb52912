"""What a single-host cluster is, in its file ``cluster.json``, and where its things lie.

Written by ``up`` and ``down`` under the folder's lock, read by all. A process is known by its pid
*and* its start time, so that nobody is ever killed for having inherited a number.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from appliance.common import errors
from appliance.protocol import codec

MDM = "mdm"
SDC = "sdc1"
MGMT = "mgmt"

#: Environment variable by which every process of a cluster, to the last grandchild, is known.
MARK = "BASALT_LOCAL_CLUSTER"


@dataclass(frozen=True, slots=True)
class Process:
    """``started`` is the start time of /proc/<pid>/stat, in ticks since the boot ``boot_id``."""

    pid: int
    started: int
    boot_id: str


@dataclass(frozen=True, slots=True)
class Device:
    """A directory of an SDS; with ``image``, the mount point of that file."""

    sds: str
    path: str
    image: str = ""


@dataclass(frozen=True, slots=True)
class Cluster:
    """``ports``: control port by process name. ``sets``: ``role.key=value`` for the daemons.
    ``mgmt``: whether the pages for people are served too."""

    id: str
    device_size: int
    device_dir: str
    devices: tuple[Device, ...] = ()
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)
    sets: tuple[str, ...] = ()
    mgmt: bool = True

    @property
    def sds_names(self) -> list[str]:
        return list(dict.fromkeys(device.sds for device in self.devices))

    @property
    def names(self) -> list[str]:
        """Every process there should be, in the order they start."""
        return [MDM, *self.sds_names, SDC, *([MGMT] if self.mgmt else [])]

    @property
    def run_dir(self) -> Path:
        """Sockets and links of this boot. Short: a Unix socket's path has 107 bytes at most."""
        base = "/run" if os.geteuid() == 0 else tempfile.gettempdir()
        return Path(base) / f"basalt-{self.id}"


def new(device_size: int, device_dir: Path, sets: tuple[str, ...], mgmt: bool = True) -> Cluster:
    return Cluster(secrets.token_hex(4), device_size, str(device_dir), sets=sets, mgmt=mgmt)


def file(directory: Path) -> Path:
    return directory / "cluster.json"


def log_file(directory: Path, name: str) -> Path:
    return directory / "log" / f"{name}.log"


def data_dir(directory: Path, name: str) -> Path:
    return directory / name


def port_file(directory: Path, name: str) -> Path:
    return directory / f"{name}.port"


def admin_token(directory: Path) -> Path:
    return data_dir(directory, MDM) / "admin.token"


def mgmt_password(directory: Path) -> Path:
    return data_dir(directory, MGMT) / "admin.password"


def load(directory: Path) -> Cluster | None:
    """The cluster of ``directory``, None if there is none. Raises errors.Damaged."""
    try:
        text = file(directory).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return codec.from_json(Cluster, json.loads(text))
    except (ValueError, errors.Invalid) as exc:
        raise errors.Damaged(path=file(directory), why=str(exc)) from exc


def need(directory: Path) -> Cluster:
    """The cluster of ``directory``. Raises errors.NotFound."""
    cluster = load(directory)
    if cluster is None:
        raise errors.NotFound(
            kind="single-host cluster in", key=directory, next=f"basalt local up --dir {directory}"
        )
    return cluster


def save(directory: Path, cluster: Cluster) -> Cluster:
    """Replace the state file in one step, and return ``cluster``."""
    target = file(directory)
    draft = target.with_suffix(".new")
    draft.write_text(json.dumps(codec.to_json(cluster), indent=2) + "\n", encoding="utf-8")
    draft.replace(target)
    return cluster


def with_process(cluster: Cluster, name: str, process: Process | None) -> Cluster:
    """``cluster`` where ``name`` is ``process``, or does not run."""
    processes = {key: value for key, value in cluster.processes.items() if key != name}
    if process is not None:
        processes[name] = process
    return dataclasses.replace(cluster, processes=processes)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Only one ``up`` or ``down`` at a time. Raises errors.Conflict."""
    with (directory / "lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise errors.Conflict(
                why=f"another 'basalt local' is at work in {directory}", next="wait for its end"
            ) from None
        yield

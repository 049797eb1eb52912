"""A whole cluster, each role on a host of its own: MDM, three SDSs, two SDCs.

The roles are the real ones, started as on any host; data goes over TCP between hosts, because a
host sees no other's /run. Each device is an XFS on a loop device over RAM, mounted on its SDS's
host only, so that a power cut can really lose what no flush saved.
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import Collection, Mapping
from concurrent import futures
from pathlib import Path
from typing import Any

from appliance.common import errors
from appliance.rest import client
from tests.chaos import disk, finaliser, host, memory, network, role
from tests.chaos.deadline import wait

MDM = "mdm"
SDSS = ("sds1", "sds2", "sds3")
SDCS = ("sdc1", "sdc2")
HOSTS = (MDM, *SDSS, *SDCS)

ADDRESSES = {
    "switch": "10.77.0.1",
    "mdm": "10.77.0.10",
    "sds1": "10.77.0.21",
    "sds2": "10.77.0.22",
    "sds3": "10.77.0.23",
    "sdc1": "10.77.0.31",
    "sdc2": "10.77.0.32",
}

_MDM_PORT = 6611
_DEVICE_BYTES = 512 << 20
_DATABASE_BYTES = 64 << 20

#: What a full disk is full of.
_FILLER = "filler"

#: XFS_IOC_GOINGDOWN, and "without flushing the log": linux/fs/xfs/libxfs/xfs_fs.h.
_GOING_DOWN = 0x8004587D
_NO_LOG_FLUSH = 2


class NetCluster:
    """Use as a context manager. The disk of each SDS in ``fragile`` can break."""

    def __init__(self, base: Path | None = None, fragile: Collection[str] = ()) -> None:
        # RAM, and short: paths of sockets below it are bounded.
        self.directory = Path(tempfile.mkdtemp(prefix="basalt-chaos-", dir=base or "/dev/shm"))
        #: RLIMIT_NOFILE of roles started from now on
        self.files: dict[str, int] = {}
        self.hosts: dict[str, host.Host] = {}
        self._fragile = fragile
        #: by SDS, those that can break
        self.disks: dict[str, disk.Disk] = {}
        self._read: dict[str, int] = {}
        self._finaliser = finaliser.Finaliser(self.directory.name, self.directory)
        self._groups = memory.Groups(self.directory.name)
        self._switch = host.Host("switch")
        self._net = network.Network(self._switch, ADDRESSES["switch"])
        self._api = futures.ThreadPoolExecutor(
            1, "api", initializer=network.enter, initargs=(self._switch.pid,)
        )

    def __enter__(self) -> "NetCluster":
        try:
            self._bring_up()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Switch everything off and delete it."""
        self._api.shutdown()
        for name in self.hosts:
            with contextlib.suppress(RuntimeError, OSError):  # it is off already
                self.power_off(name)
        self._switch.power_off()
        for one in self.disks.values():
            one.close()
        self._finaliser.close()

    # --- hosts and roles ---------------------------------------------------------------

    def power_on(self, name: str) -> None:
        """Switch the host on, with a new boot id, and start its role."""
        one = host.Host(name, self._mounts(name))
        self.hosts[name] = one
        self._groups.admit(name, one.pid)
        (self._data(name) / "boot_id").write_text(secrets.token_hex(16), encoding="ascii")
        self._net.plug(one, ADDRESSES[name])
        self.start(name)

    def power_off(self, name: str) -> None:
        """Everything on the host ends; what it wrote reaches its disk. Nobody is told."""
        self._net.unplug(name)
        one = self.hosts[name]
        if name in SDCS:
            one.signal_all(signal.SIGKILL)
            _let_loops_go(one)
        one.power_off()

    def power_cut(self, name: str) -> None:
        """As ``power_off``, but what no flush has saved is lost."""
        self._net.unplug(name)
        one = self.hosts[name]
        device = one.path(self.device(name))
        # Nobody may live to see the file system go: to them it would be a broken disk.
        one.signal_all(signal.SIGKILL)
        wait(one.processes, lambda left: left == [], f"the processes of {name} to end")
        descriptor = os.open(device, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, _GOING_DOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)
        one.power_off()

    def start(self, name: str) -> None:
        """Start the host's role; does nothing if it runs."""
        if self.alive(name):
            return
        kind = _role(name)
        argv = [sys.executable, "-m", "tests.chaos.role", str(self._data(name) / "clock")]
        argv += [f"appliance.{kind}", "--config-dir", str(self._data("none"))]
        for key, value in self._settings(name, kind).items():
            argv += ["--set", f"{key}={value}"]
        files = self.files.get(name, 0)
        self.hosts[name].start(name, argv, self.log(name), files=files)

    def alive(self, name: str) -> bool:
        return self.hosts[name].alive(name)

    def kill(self, name: str) -> None:
        """SIGKILL the role's agent, or the MDM."""
        self.hosts[name].signal(name, signal.SIGKILL)
        wait(lambda: self.alive(name), lambda lives: not lives, f"{name} to be gone")

    def kill_servers(self, name: str) -> int:
        """SIGKILL every data server of an SDS; how many there were."""
        return self.hosts[name].signal_matching(["nbdkit", "exportname-list"], signal.SIGKILL)

    def kill_plugins(self, name: str) -> int:
        return self.hosts[name].signal_matching(["nbdkit", "incarnation="], signal.SIGKILL)

    def pull_cable(self, name: str, out: bool = True) -> None:
        self._net.pull(name, out)

    def limit_memory(self, name: str, size: int) -> None:
        """Bound the memory of everything on the host; -1 for no bound."""
        self._groups.limit(name, size)

    def descriptors(self, name: str) -> int:
        """How many the role has open."""
        found = [
            pid for pid, line in self.hosts[name].numbered() if f"appliance.{_role(name)}" in line
        ]
        inside = self.hosts[name].path(f"/proc/{found[0]}/fd") if found else None
        return len(list(inside.iterdir())) if inside is not None else 0

    def step_clock(self, name: str, step: int) -> None:
        """Have the role's wall clock differ from the machine's by so many seconds."""
        descriptor = os.open(self._data(name) / "clock", os.O_WRONLY | os.O_CREAT, 0o600)
        os.pwrite(descriptor, role.STEP.pack(step), 0)
        os.close(descriptor)

    def log(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def freeze_disk(self, name: str, frozen: bool) -> None:
        """Have every change of the SDS's file system wait, or go on."""
        device = self.hosts[name].path(self.device(name))
        verb = "--freeze" if frozen else "--unfreeze"
        subprocess.run(["fsfreeze", verb, device], check=True, timeout=60)

    def fill_disk(self, name: str) -> None:
        """Leave no free byte on the SDS's device."""
        filler = self.hosts[name].path(self.device(name)) / _FILLER
        with filler.open("ab") as file:
            for step in (16 << 20, 1 << 20, 1 << 12):
                with contextlib.suppress(OSError):
                    while True:
                        os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), step)

    def empty_disk(self, name: str) -> None:
        device = self.hosts[name].path(self.device(name))
        (device / _FILLER).unlink(missing_ok=True)
        descriptor = os.open(device, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(descriptor)  # or a power cut brings it back
        os.close(descriptor)

    def replace_disk(self, name: str) -> None:
        """A new disk in the place of an SDS's broken one, as people do it: out, in, added."""
        (ident,) = [d["id"] for d in self.call("get", "/devices")["items"] if d["sds"] == name]
        self.call("delete", f"/devices/{ident}")
        wait(
            lambda: [d["id"] for d in self.call("get", "/devices")["items"]],
            lambda left: ident not in left,
            f"the broken device of {name} to be given up",
            180,
        )
        self.power_off(name)
        self.disks[name].repair()
        self._make_file_system(name)
        self.power_on(name)
        self._add_device(name)

    def device(self, name: str) -> Path:
        """The SDS's device, or the folder of the MDM's database, as its host sees it."""
        return self._data(name) / "device"

    # --- what people do ----------------------------------------------------------------

    def call(self, method: str, path: str, *args: Any, **more: Any) -> Any:
        """One request to the MDM, as its administrator."""
        return self._api.submit(self._request, method, path, args, more).result()

    def volume(self, name: str) -> Any:
        return self.call("get", f"/volumes/{name}")

    def create(self, name: str, size: int, **more: Any) -> Any:
        return self.call("post", "/volumes", {"name": name, "size_bytes": size, **more})

    def map(self, name: str, sdc: str) -> None:
        self.call("post", f"/volumes/{name}/mappings", {"sdc": sdc, "backend": "none"})

    def unmap(self, name: str, sdc: str, force: bool = False) -> None:
        self.call("delete", f"/volumes/{name}/mappings/{sdc}", force=force)

    def socket(self, name: str, sdc: str, limit_s: float = 60.0) -> str:
        """Path here of the NBD socket of the volume's mapping, once it is attached."""

        def _attached() -> Any:
            found = [m for m in self.volume(name)["mappings"] if m["sdc"] == sdc]
            return found[0] if found else {}

        seen = wait(
            _attached, lambda m: m.get("state") == "attached", f"{name} attached to {sdc}", limit_s
        )
        inside = urllib.parse.parse_qs(urllib.parse.urlsplit(seen["uri"]).query)["socket"][0]
        return str(self.hosts[sdc].path(inside))

    def wait_healthy(self, name: str, limit_s: float = 180.0) -> Any:
        return wait(
            lambda: self.volume(name),
            lambda seen: seen["health"] == "healthy",
            f"volume {name} to be healthy",
            limit_s,
        )

    def data_file(self, volume: Mapping[str, Any], replica: Mapping[str, Any]) -> Path:
        """A replica's bytes, as a path here."""
        folder = self.hosts[replica["sds"]].path(self.device(replica["sds"]))
        return folder / "volumes" / str(volume["id"]) / "data"

    def new_logs(self) -> dict[str, str]:
        """What every role has logged since this was last called."""
        found = {}
        for path in sorted(self.directory.glob("*.log")):
            with path.open("rb") as file:
                file.seek(self._read.get(path.stem, 0))
                raw = file.read()
            self._read[path.stem] = self._read.get(path.stem, 0) + len(raw)
            found[path.stem] = raw.decode("utf-8", errors="replace")
        return found

    def keep_logs(self) -> Path:
        """A copy of every log and of the MDM's database, which outlives the cluster."""
        target = Path(tempfile.mkdtemp(prefix="basalt-chaos-found-"))
        kept = list(self.directory.glob("*.log"))
        with contextlib.suppress(OSError):
            kept += self.hosts[MDM].path(self.device(MDM)).glob("mdm.db*")
        for path in kept:
            with contextlib.suppress(OSError):
                shutil.copy2(path, target / path.name)
        return target

    # --- inside ------------------------------------------------------------------------

    def _bring_up(self) -> None:
        for name in HOSTS:
            self._data(name).mkdir()
            self.step_clock(name, 0)
            for image, mount in self._mounts(name):
                mount.mkdir()
                with image.open("xb") as file:
                    file.truncate(_DEVICE_BYTES if name in SDSS else _DATABASE_BYTES)
                if name in self._fragile:
                    self.disks[name] = disk.Disk(image)
                self._make_file_system(name)
        self.power_on(MDM)
        wait(self._mdm_ready, bool, "the MDM to be ready")
        folder = self.hosts[MDM].path(self.device(MDM))
        shutil.copy(folder / "join.token", self.directory / "join.token")
        if not self._knows("pools", "default"):
            self.call("post", "/pools", {"name": "default", "domain": "default"})
        for name in SDSS:
            self.call("post", "/fault-sets", {"name": f"rack-{name}", "domain": "default"})
        for name in (*SDSS, *SDCS):
            self.power_on(name)
        for name in (*SDSS, *SDCS):
            kind = "sdcs" if name in SDCS else "sds"
            wait(lambda n=name, k=kind: self._knows(k, n), bool, f"{name} to register")
        for name in SDSS:
            self._add_device(name)

    def _make_file_system(self, name: str) -> None:
        make = ["mkfs.xfs", "-q", "-f"] if name in SDSS else ["mkfs.ext4", "-q", "-m", "0"]
        ((image, _),) = self._mounts(name)
        subprocess.run([*make, image], check=True, timeout=60)

    def _add_device(self, name: str) -> None:
        new = {"sds": name, "path": str(self.device(name)), "pool": "default"}
        ident = self.call("post", "/devices", new)["id"]
        wait(
            lambda: self.call("get", f"/devices/{ident}")["state"],
            lambda state: state == "ok",
            f"the device of {name} to be taken",
        )

    def _request(self, method: str, path: str, args: Any, more: Any) -> Any:
        folder = self.hosts[MDM].path(self.device(MDM))
        token = (folder / "admin.token").read_text(encoding="ascii").strip()
        base = f"http://{ADDRESSES[MDM]}:{_MDM_PORT}"
        caller = client.Client([base], token, timeout_s=60.0, user_agent="chaos")
        try:
            return getattr(caller, method)(f"/api/v1{path}", *args, **more)
        finally:
            caller.close()

    def _mdm_ready(self) -> bool:
        try:
            return bool(self.call("get", "/volumes")["items"] == [])
        except (errors.BasaltError, OSError):
            return False

    def _knows(self, kind: str, name: str) -> bool:
        return any(one["name"] == name for one in self.call("get", f"/{kind}")["items"])

    def _mounts(self, name: str) -> list[tuple[Path, Path]]:
        if name in SDCS:
            return []
        broken = self.disks.get(name)
        image = self._data(name) / "disk.img" if broken is None else broken.file
        return [(image, self.device(name))]

    def _data(self, name: str) -> Path:
        return self.directory / name

    def _settings(self, name: str, kind: str) -> dict[str, str]:
        own = {"data_dir": str(self._data(name) / "data"), "host": "0.0.0.0"}
        if kind == MDM:
            return {**own, "data_dir": str(self.device(name))}
        own |= {
            "name": name,
            "run_dir": f"/run/{kind}",
            "mdm": json.dumps([f"http://{ADDRESSES[MDM]}:{_MDM_PORT}"]),
            "join_token_file": str(self.directory / "join.token"),
            "hosts": json.dumps([ADDRESSES[name]]),
            "boot_id_file": str(self._data(name) / "boot_id"),
        }
        if kind == "sdc":
            return {**own, "link_dir": "/run/basalt-dev"}
        return {**own, "fault_set": f"rack-{name}", "ballast_bytes": str(4 << 20)}


def _let_loops_go(one: host.Host) -> None:
    """Loop devices are the machine's, not the host's: they go with whoever still uses them."""
    for line in one.run(["losetup", "--noheadings", "--output", "NAME,BACK-FILE"]).splitlines():
        device, _, file = line.partition(" ")
        if file.strip().startswith("/run/sdc/"):
            one.run(["losetup", "--detach", device])


def _role(name: str) -> str:
    return name.rstrip("0123456789")

"""A whole lab: four containers, their devices, an inventory, and the playbooks run on it."""

import contextlib
import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from tests.infra.lab import able, host, machine, network, rootfs

REPOSITORY = Path(__file__).resolve().parents[3]
PLAYBOOKS = REPOSITORY / "ansible"

#: Hosts by their last byte of address. The last is the virtual machine.
NAMES = {"lab1": 11, "lab2": 12, "lab3": 13, "lab4": 14, "lab5": 15, "lab6": 16, "vm1": 21}

_DISK_BYTES = 2 << 30

#: What a lab's folder may take.
_MEMORY_BYTES = 6 << 30

_LIMIT_S = 1500


@dataclass(frozen=True, slots=True)
class Play:
    """What one run of ansible-playbook said; ``changed`` by host."""

    status: int
    text: str
    seconds: float
    changed: dict[str, int] = field(default_factory=dict)


class Site:
    """Made by ``lab``. Everything of it lies in ``folder`` and the network namespace."""

    def __init__(self, net: network.Network, folder: Path) -> None:
        self.net = net
        self.folder = folder
        self.hosts: dict[str, host.Host | machine.Machine] = {}
        self.disks: dict[str, str] = {}
        self.inventory = folder / "inventory.json"
        self.variables: dict[str, Any] = {}
        self.source = REPOSITORY  # what releases are built of
        self.mdm = ""  # host of the MDM, of the inventory written last
        self._tree = rootfs.tree()
        self._key = folder / "ssh-key"
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self._key)], check=True
        )

    def add(self, *names: str, disk: bool = True) -> None:
        """Make and start hosts; each has an empty disk if told so. Returns at once."""
        for name in names:
            last = NAMES[name]
            made = host.Host(self.net, self._tree, self.folder / name, name, last)
            self.hosts[name] = made
            made.settle(self._key.with_suffix(".pub").read_text(), _addresses())
            if disk and name not in self.disks:
                self.disks[name] = self._new_disk(name)
            made.start()

    def add_machine(self, name: str) -> None:
        """Make and start a virtual machine, a client without a disk for an SDS. Returns at once."""
        able.check(machine=True)
        made = machine.Machine(self.net, self._tree, self.folder / name, name, NAMES[name])
        self.hosts[name] = made
        made.settle(self._key.with_suffix(".pub").read_text(), _addresses(), self._install_release)
        made.start()

    def cut(self, name: str) -> None:
        """A power cut of a host; connections to it are forgotten."""
        self.hosts[name].cut()
        self.forget(name)

    def forget(self, name: str) -> None:
        """End the shared connection to a host whose other end is gone."""
        argv = ["ssh", *self._ssh_options(), "-O", "exit", f"root@{network.PREFIX}{NAMES[name]}"]
        subprocess.run(self.net.inside(argv), check=False, capture_output=True, timeout=30)

    def wait_ssh(self, *names: str) -> None:
        for name in names or self.hosts:
            deadline = time.monotonic() + (400 if name.startswith("vm") else 60)
            while self.ssh(name, "true", check=False).returncode != 0:
                assert time.monotonic() < deadline, self.hosts[name].console()[-3000:]
                time.sleep(0.1)

    def ssh(self, name: str, command: str, check: bool = True, timeout_s: float = 120.0) -> Any:
        """Run a shell command on a host; a CompletedProcess with text."""
        argv = ["ssh", *self._ssh_options(), f"root@{network.PREFIX}{NAMES[name]}", command]
        done = subprocess.run(
            self.net.inside(argv), capture_output=True, text=True, timeout=timeout_s, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0 or not check, f"{name}: {command}\n{done.stdout}{done.stderr}"
        return done

    def start(self, name: str, command: str, output: TextIO) -> subprocess.Popen[str]:
        """A shell command on a host that goes on; what it says goes to a file here."""
        argv = ["ssh", *self._ssh_options(), "-o", "ControlPath=none"]
        argv += [f"root@{network.PREFIX}{NAMES[name]}", command]
        return subprocess.Popen(
            self.net.inside(argv), stdin=subprocess.DEVNULL, stdout=output, text=True
        )

    def basalt(self, *words: str, timeout_s: float = 180.0) -> str:
        """The CLI on the MDM's host; its JSON."""
        port = self.variables.get("cluster_mdm_local_port", 6610)
        command = shlex.join(["basalt", "--url", f"http://127.0.0.1:{port}", "--json", *words])
        return str(self.ssh(self.mdm, command, timeout_s=timeout_s).stdout)

    def wait_healthy(self, limit_s: float = 240.0) -> None:
        deadline = time.monotonic() + limit_s
        while (seen := json.loads(self.basalt("status")))["health"] != "healthy":
            assert time.monotonic() < deadline, seen
            time.sleep(0.5)

    def machine(self, name: str) -> machine.Machine:
        found = self.hosts[name]
        assert isinstance(found, machine.Machine)
        return found

    def write_inventory(self, groups: dict[str, Sequence[str]], **more: dict[str, Any]) -> None:
        """``groups``: role → hosts. ``more``: variables of one host."""
        self.mdm = groups["mdm"][0]
        everyone = sorted({name for members in groups.values() for name in members})
        hosts = {name: self._variables_of(name, groups) | more.get(name, {}) for name in everyone}
        inventory = {
            "all": {
                "hosts": hosts,
                "vars": self._common() | self.variables,
                "children": {
                    group: {"hosts": {name: {} for name in members}}
                    for group, members in groups.items()
                },
            }
        }
        self.inventory.write_text(json.dumps(inventory, indent=2))

    def play(self, playbook: str, *words: str, check: bool = True) -> Play:
        """Run a playbook of the tree on the inventory."""
        self._build_release()
        began = time.monotonic()
        argv = [_beside("ansible-playbook"), str(PLAYBOOKS / playbook)]
        argv += ["-i", str(self.inventory), "-e", f"release_source={self.source}", *words]
        done = subprocess.run(
            self.net.inside(argv), env=self._environment(), stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_LIMIT_S, check=False,
        )  # fmt: skip
        seconds = time.monotonic() - began
        recap = re.findall(r"^(\S+) +: ok=\d+ +changed=(\d+)", done.stdout, re.MULTILINE)
        changed = {name: int(count) for name, count in recap}
        (self.folder / f"play-{time.time_ns()}-{playbook}.log").write_text(done.stdout)
        print(f"{playbook} {' '.join(words)}: {seconds:.1f} s, changed {sum(changed.values())}")
        assert done.returncode == 0 or not check, done.stdout[-6000:]
        return Play(done.returncode, done.stdout, seconds, changed)

    def verify(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The testinfra suite, in the lab's network."""
        argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir"]
        argv += [str(REPOSITORY), str(REPOSITORY / "tests/infra/verify")]
        argv += [f"--inventory={self.inventory}", *words]
        return subprocess.run(
            self.net.inside(argv), env=self._environment(), capture_output=True, text=True,
            timeout=_LIMIT_S, check=False, cwd=REPOSITORY,
        )  # fmt: skip

    def close(self) -> None:
        for each in self.hosts.values():
            each.cut()
        for device in self.disks.values():
            subprocess.run(["losetup", "--detach", device], check=False, capture_output=True)
        for each in self.hosts.values():
            each.remove()

    def _build_release(self) -> dict[str, str]:
        """What the role release does, outside the lab's network, which has no package index."""
        build = PLAYBOOKS / "roles/release/files/build.py"
        words = ["/usr/bin/python3", str(build), str(self.source), self._common()["release_cache"]]
        done = subprocess.run(
            [*words, "/usr/bin/python3"], check=True, stdout=subprocess.PIPE, timeout=300
        )
        return dict(json.loads(done.stdout))

    def _install_release(self, root: Path) -> None:
        """What the role base does, in a root file system that is a folder here."""
        release = self._build_release()
        releases = root / "opt/basalt/releases"
        releases.mkdir(parents=True)
        shutil.copy(release["file"], releases)
        shutil.copy(PLAYBOOKS / "roles/base/files/install_release.sh", root / "root")
        words = ["sh", "/root/install_release.sh", "/opt/basalt/releases", release["id"]]
        subprocess.run(
            ["chroot", str(root), *words],
            check=True,
            timeout=300,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )

    def _new_disk(self, name: str) -> str:
        image = self.folder / f"{name}.disk"
        with image.open("wb") as file:
            file.truncate(_DISK_BYTES)
        # LOOP_CTL_GET_FREE and the attach are two steps: another program may be quicker.
        for _ in range(10):
            done = subprocess.run(
                ["losetup", "--find", "--show", str(image)],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode == 0:
                return done.stdout.strip()
        raise AssertionError(f"no loop device: {done.stderr}")

    def _variables_of(self, name: str, groups: dict[str, Sequence[str]]) -> dict[str, Any]:
        found: dict[str, Any] = {"ansible_host": f"{network.PREFIX}{NAMES[name]}"}
        if name in groups["mdm"]:  # another address than the one that Ansible uses
            found["cluster_address"] = name
        if name in groups.get("sds", ()):
            found["sds_devices"] = [{"path": "/srv/basalt/d1", "device": self.disks[name]}]
        return found

    def _common(self) -> dict[str, Any]:
        return {
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self._key),
            "ansible_ssh_common_args": " ".join(self._ssh_options(key=False)),
            "ansible_python_interpreter": "/usr/bin/python3",
            "cluster_open_firewall": True,
            # Everything is in the root file system; there is no way to a mirror.
            "cluster_apt_update": False,
            # No udev in a container, so no links by UUID.
            "sds_mount_by": "path",
            "preflight_memory_mb": {"mdm": 256, "sds": 256, "sdc": 256, "mgmt": 256},
            "pki_dir": str(self.folder / "pki"),
            "release_cache": str(rootfs.CACHE / "releases"),
        }

    def _ssh_options(self, key: bool = True) -> list[str]:
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
        options += ["-o", "LogLevel=ERROR", "-o", "ConnectTimeout=5", "-o", "ControlMaster=auto"]
        options += ["-o", "ControlPersist=60", "-o", f"ControlPath={self.folder}/%C"]
        return [*options, "-i", str(self._key)] if key else options

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "ANSIBLE_CONFIG": str(PLAYBOOKS / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.folder / "ansible"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_FORKS": "6",
            "LC_ALL": "C.UTF-8",
        }


@contextlib.contextmanager
def lab(keep: bool = False) -> Iterator[Site]:
    """A new lab, gone afterwards; with ``keep`` its folder (logs) stays."""
    able.check()
    ident = secrets.token_hex(3)
    folder = Path("/var/tmp", f"basalt-lab-{ident}")
    with _folder(folder, keep), network.Network(f"basalt-lab-{ident}") as net:
        site = Site(net, folder)
        try:
            yield site
        finally:
            site.close()


@contextlib.contextmanager
def _folder(path: Path, keep: bool) -> Iterator[None]:
    """In memory, if there is plenty: hosts are made, synced and deleted much faster there."""
    path.mkdir(mode=0o700)
    known = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    in_memory = not keep and int(known["MemAvailable"].split()[0]) << 10 > 2 * _MEMORY_BYTES
    if in_memory:
        options = f"size={_MEMORY_BYTES},mode=700"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "lab", str(path)], check=True)
    try:
        yield
    finally:
        if in_memory:
            subprocess.run(["umount", "--lazy", str(path)], check=True)
        if not keep:
            shutil.rmtree(path, ignore_errors=True)


def _addresses() -> dict[str, str]:
    return {name: f"{network.PREFIX}{last}" for name, last in NAMES.items()}


def _beside(program: str) -> str:
    return str(Path(sys.executable).with_name(program))

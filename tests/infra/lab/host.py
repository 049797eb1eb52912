"""One host of the lab: a systemd-nspawn container with its own systemd, sshd and address."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from tests.infra.lab import network

#: Nodes of the machine's loop devices; their numbers are only known when they are taken.
_LOOPS = 128

_LIMIT_S = 60.0

#: Run in a mount namespace of its own: a cgroup of this container alone, or its systemd would
#: wait for the others' processes when it shuts down (and with a mixed hierarchy there is no v2).
_START = """
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p "/sys/fs/cgroup/$1"
echo $$ > "/sys/fs/cgroup/$1/cgroup.procs"
shift
exec "$@"
"""

#: What people have who let in nothing but ssh: the roles' ports are for the role firewall to open.
_FIREWALL = """#!/usr/sbin/nft -f
flush ruleset
table inet filter {
    chain input {
        type filter hook input priority filter; policy drop;
        iif lo accept
        ct state established,related accept
        meta l4proto { icmp, ipv6-icmp } accept
        tcp dport 22 accept
    }
}
"""

_NSPAWN = [
    "systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--resolv-conf=off",
    "--timezone=off", "--link-journal=no", "--console=pipe", f"--network-bridge={network.BRIDGE}",
    "--bind=/dev/fuse", "--bind=/dev/loop-control",
]  # fmt: skip


class Host:
    """``folder`` holds its changes to the root file system and survives a power cut."""

    def __init__(self, net: network.Network, tree: Path, folder: Path, name: str, last: int):
        self.name = name
        self.address = f"{network.PREFIX}{last}"
        self._net = net
        self._folder = folder
        self._cgroup = f"basalt-lab/{net.name}/{name}"
        self.root = folder / "root"
        self._process: subprocess.Popen[bytes] | None = None
        for part in ("upper", "work", "root"):
            (folder / part).mkdir(parents=True)
        self._mount(tree)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """A file of the host, put there from outside."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def settle(self, authorized_key: str, hosts: dict[str, str]) -> None:
        """What a person would have set up before Ansible: name, address, ssh."""
        self.write("/etc/hostname", f"{self.name}\n")
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in hosts.items())]
        self.write("/etc/hosts", "\n".join(lines) + "\n")
        self.write(
            "/etc/systemd/network/10-lab.network",
            "[Match]\nName=host0 en* eth*\n[Network]\nLinkLocalAddressing=no\n"
            f"Address={self.address}/{network.MASK}\nGateway={network.PREFIX}1\n",
        )
        self.write("/root/.ssh/authorized_keys", authorized_key, 0o600)
        (self.root / "root/.ssh").chmod(0o700)
        self.write("/etc/ssh/sshd_config.d/lab.conf", "UseDNS no\nMaxStartups 100\n")
        self.write("/etc/nftables.conf", _FIREWALL)
        nodes = [f"b /dev/loop{n} 0660 root disk - 7:{n}" for n in range(_LOOPS)]
        self.write("/etc/tmpfiles.d/lab-loop.conf", "\n".join(nodes) + "\n")

    def start(self) -> None:
        log = (self._folder / "console.log").open("ab")
        # nspawn hides /sys/fs, where an SDS looks for the superblock it serves from.
        shown = [f"--bind-ro=/sys/fs/{kind}" for kind in ("xfs", "ext4")]
        argv = [
            "unshare", "--mount", "--propagation", "private", "sh", "-ec", _START, "sh",
            self._cgroup, *self._net.inside(_NSPAWN), f"--directory={self.root}", *shown,
            f"--machine={self.name}",
        ]  # fmt: skip
        with log:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def stop(self) -> None:
        """As a power button pressed briefly: its systemd shuts it down."""
        if self._process is not None:
            os.kill(self._init_pid(), signal.SIGRTMIN + 4)  # systemd(1): poweroff.target
            self._process.wait(_LIMIT_S)
            self._process = None

    def cut(self) -> None:
        """Every process of it is gone at once. The machine's page cache is not: see the VM."""
        if self._process is None:
            return
        loops = self._volumes()
        for pid in self._pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.wait(_LIMIT_S)
        self._process = None
        # Loop devices are this machine's, and so outlive a container.
        for device in loops:
            subprocess.run(["losetup", "--detach", device], check=False, capture_output=True)

    def remove(self) -> None:
        """The container and every change to its root file system."""
        self.cut()
        subprocess.run(["umount", "--recursive", "--lazy", str(self.root)], check=False)
        shutil.rmtree(self._folder, ignore_errors=True)

    def console(self) -> str:
        file = self._folder / "console.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def _mount(self, tree: Path) -> None:
        layers = f"lowerdir={tree},upperdir={self._folder}/upper,workdir={self._folder}/work"
        subprocess.run(
            ["mount", "-t", "overlay", "overlay", "-o", layers, str(self.root)],
            check=True, capture_output=True, timeout=30,
        )  # fmt: skip

    def _volumes(self) -> list[str]:
        """The devices of volumes that are mapped to it."""
        found = []
        for pid in self._pids():
            if _pid_inside(pid) == "1":
                with contextlib.suppress(OSError):
                    links = Path(f"/proc/{pid}/root/dev/basalt").iterdir()
                    found += [f"/dev/{link.readlink().name}" for link in links]
        return found

    def _init_pid(self) -> int:
        """The container's PID 1: nspawn's only child."""
        assert self._process is not None
        deadline = time.monotonic() + _LIMIT_S
        while True:
            for pid in self._pids():
                if _pid_inside(pid) == "1":
                    return pid
            assert time.monotonic() < deadline, "the container has no init"
            time.sleep(0.02)

    def _pids(self) -> list[int]:
        """All processes of the container: those in its cgroup and below it."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    text = (entry / "cgroup").read_text()
                except OSError:
                    continue
                if f"/{self._cgroup}" in text:
                    found.append(int(entry.name))
        return found


def _pid_inside(pid: int) -> str:
    """Its number in the container; empty for one that is not in there (nspawn itself), or ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                return line.split()[2] if len(line.split()) > 2 else ""
    return ""

"""A virtual machine with Debian's own kernel (nbd as a module), under QEMU's translator.

It is a host of the lab like a container: on the same bridge, with the same root file system, which
is made into an image each time. Unlike with a container a reset of it is a power cut: its page
cache is gone. The repository, with its .venv, is its second disk, to be mounted at the same path.
"""

import contextlib
import json
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.infra.lab import network

REPOSITORY = Path(__file__).resolve().parents[3]

_MEMORY_MB = 1024
_ROOT_BYTES = 4 << 30
_TREE_BYTES = 2 << 30


class Machine:
    """Made by ``Site.add_machine``. Its images are in ``folder`` and survive a power cut."""

    def __init__(self, net: network.Network, tree: Path, folder: Path, name: str, last: int):
        self.name = name
        self.address = f"{network.PREFIX}{last}"
        self._net = net
        self._tree = tree
        self._folder = folder
        self._last = last
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()

    def settle(
        self,
        authorized_key: str,
        hosts: dict[str, str],
        install: Callable[[Path], None] = lambda _root: None,
    ) -> None:
        """Make its disks. ``install`` may change the root file system while it is a folder here:
        what takes a minute in the machine takes seconds outside."""
        with self._root() as root:
            for file, text in self._files(authorized_key, hosts).items():
                (root / file).parent.mkdir(parents=True, exist_ok=True)
                (root / file).write_text(text)
            for private in ("root/.ssh", "root"):
                (root / private).chmod(0o700)
            install(root)
            _make_image(root, self._folder / "root.img", _ROOT_BYTES)
        _make_image(REPOSITORY, self._folder / "tree.img", _TREE_BYTES)

    def start(self) -> None:
        tap = f"tap-{self.name}"
        self._net.tap(tap)
        boot = self._tree / "boot"
        [kernel] = boot.glob("vmlinuz-*")
        [initrd] = boot.glob("initrd.img-*")
        kernel_words = "root=/dev/vda rw console=ttyS0 no_timer_check net.ifnames=0 mitigations=off"
        argv = ["qemu-system-x86_64", "-M", "pc", "-accel", "tcg,thread=multi,tb-size=128"]
        argv += ["-cpu", "max", "-smp", "2", "-m", str(_MEMORY_MB), "-nodefaults"]
        argv += ["-display", "none", "-kernel", str(kernel), "-initrd", str(initrd)]
        argv += ["-append", kernel_words, "-serial", f"file:{self._folder}/console.log"]
        argv += ["-qmp", f"unix:{self._folder}/qmp,server,nowait"]
        for image in ("root.img", "tree.img"):
            argv += ["-drive", f"file={self._folder}/{image},format=raw,if=virtio,cache=unsafe"]
        argv += ["-netdev", f"tap,id=n0,ifname={tap},script=no,downscript=no"]
        mac = f"52:54:00:00:00:{self._last:02x}"
        argv += ["-device", f"virtio-net-pci,netdev=n0,mac={mac}", "-device", "virtio-rng-pci"]
        with (self._folder / "qemu.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._net.inside(argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def reset(self) -> None:
        """As the reset button: nothing is written, everything in memory is gone."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(10)
            sock.connect(str(self._folder / "qmp"))
            stream = sock.makefile("rw")
            stream.readline()
            for word in ("qmp_capabilities", "system_reset"):
                stream.write(json.dumps({"execute": word}) + "\n")
                stream.flush()
                while "return" not in json.loads(stream.readline()):
                    pass

    def cut(self) -> None:
        """The plug is pulled."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        self.cut()
        shutil.rmtree(self._folder, ignore_errors=True)

    def console(self) -> str:
        said = ""
        for name in ("qemu.log", "console.log"):
            file = self._folder / name
            said += file.read_text(errors="replace")[-6000:] if file.exists() else ""
        return said

    def _files(self, authorized_key: str, hosts: dict[str, str]) -> dict[str, str]:
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in hosts.items())]
        return {
            "etc/hostname": f"{self.name}\n",
            "etc/hosts": "\n".join(lines) + "\n",
            "etc/fstab": "",
            "etc/systemd/network/10-lab.network": "[Match]\nName=eth0\n[Network]\n"
            f"LinkLocalAddressing=no\nAddress={self.address}/{network.MASK}\n"
            f"Gateway={network.PREFIX}1\n",
            # The tests write nothing into the tree.
            "etc/environment": "PYTHONDONTWRITEBYTECODE=1\n",
            "etc/ssh/sshd_config.d/lab.conf": "UseDNS no\nMaxStartups 100\n",
            "root/.ssh/authorized_keys": authorized_key,
        }

    @contextlib.contextmanager
    def _root(self) -> Iterator[Path]:
        """The root file system as a folder that may be changed."""
        for part in ("changes", "work", "root"):
            (self._folder / part).mkdir()
        root = self._folder / "root"
        layers = f"lowerdir={self._tree},upperdir={self._folder}/changes"
        layers += f",workdir={self._folder}/work"
        subprocess.run(["mount", "-t", "overlay", "-o", layers, "overlay", str(root)], check=True)
        try:
            yield root
        finally:
            subprocess.run(["umount", "--recursive", str(root)], check=True)
            shutil.rmtree(self._folder / "changes")


def _make_image(tree: Path, image: Path, size: int) -> None:
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-d", str(tree), str(image)], check=True)

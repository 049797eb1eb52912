"""A virtual machine with Debian's own kernel (nbd as a module), under QEMU's translator.

Its root is an image of the lab's root file system, made anew each time. The repository, with its
.venv, is a second disk, mounted at the same path, so what is tested is what is here. Unlike a
container, a reset of it is a power cut: its page cache is gone.
"""

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.infra.lab import rootfs

REPOSITORY = Path(__file__).resolve().parents[3]

_MEMORY_MB = 1024
_ROOT_BYTES = 4 << 30
_LIMIT_S = 400.0


class Machine:
    """``with Machine(folder) as machine``: booted, reachable by ``ssh``, gone afterwards.

    The network is QEMU's own: one forwarded port on this machine's loopback, nothing else.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = folder / "vm-key"
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    def __enter__(self) -> "Machine":
        self._prepare()
        self.start()
        try:
            self.wait_ssh()
            self.ssh(f"mkdir -p {REPOSITORY} && mount -o ro /dev/vdb {REPOSITORY}")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def ssh(self, command: str, check: bool = True, timeout_s: float = 300.0) -> Any:
        """Run a shell command as root; a CompletedProcess with text."""
        argv = ["ssh", "-p", str(self._port), "-i", str(self._key), "-o", "LogLevel=ERROR"]
        argv += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
        argv += ["-o", "ConnectTimeout=5", "root@127.0.0.1", command]
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=timeout_s, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0 or not check, f"{command}\n{done.stdout}{done.stderr}"
        return done

    def reset(self) -> None:
        """As the reset button: nothing is written, everything in memory is gone."""
        self._monitor("system_reset")

    def wait_ssh(self) -> None:
        deadline = time.monotonic() + _LIMIT_S
        while self.ssh("true", check=False).returncode != 0:
            assert self._process is not None
            assert self._process.poll() is None, self.console()
            assert time.monotonic() < deadline, self.console()
            time.sleep(0.2)

    def console(self) -> str:
        return (self._folder / "vm-console.log").read_text(errors="replace")[-4000:]

    def start(self) -> None:
        self._port = _free_port()
        boot = rootfs.tree() / "boot"
        [kernel] = boot.glob("vmlinuz-*")
        [initrd] = boot.glob("initrd.img-*")
        argv = ["qemu-system-x86_64", "-M", "pc", "-accel", "tcg,thread=multi,tb-size=128"]
        argv += [
            "-cpu",
            "max",
            "-smp",
            "2",
            "-m",
            str(_MEMORY_MB),
            "-nodefaults",
            "-display",
            "none",
        ]
        argv += ["-kernel", str(kernel), "-initrd", str(initrd)]
        argv += [
            "-append",
            "root=/dev/vda rw console=ttyS0 no_timer_check net.ifnames=0 mitigations=off",
        ]
        argv += ["-serial", f"file:{self._folder}/vm-console.log"]
        argv += ["-qmp", f"unix:{self._folder}/qmp,server,nowait"]
        for name in ("root.img", "tree.img"):
            argv += ["-drive", f"file={self._folder}/{name},format=raw,if=virtio,cache=unsafe"]
        argv += ["-netdev", f"user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:{self._port}-:22"]
        argv += ["-device", "virtio-net-pci,netdev=n0", "-device", "virtio-rng-pci"]
        log = (self._folder / "vm-qemu.log").open("ab")
        with log:
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _prepare(self) -> None:
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self._key)], check=True
        )
        for part in ("changes", "work", "root"):
            (self._folder / part).mkdir()
        self._settle(self._folder / "changes")
        layers = f"lowerdir={rootfs.tree()},upperdir={self._folder}/changes"
        layers += f",workdir={self._folder}/work"
        root = self._folder / "root"
        subprocess.run(["mount", "-t", "overlay", "-o", layers, "overlay", str(root)], check=True)
        try:
            _make_image(root, self._folder / "root.img", _ROOT_BYTES)
        finally:
            subprocess.run(["umount", str(root)], check=True)
        tree = self._folder / "tree"
        shutil.copytree(
            REPOSITORY, tree, symlinks=True,
            ignore=shutil.ignore_patterns(".git", "__pycache__", ".mypy_cache", ".ruff_cache"),
        )  # fmt: skip
        _make_image(tree, self._folder / "tree.img", 2 << 30)
        shutil.rmtree(tree)

    def _settle(self, changes: Path) -> None:
        files = {
            "etc/hostname": "vm\n",
            "etc/hosts": "127.0.0.1 localhost vm\n",
            "etc/fstab": "",
            "etc/systemd/network/10-lab.network": "[Match]\nName=eth0\n[Network]\nDHCP=ipv4\n",
            # The tests write nothing into the tree.
            "etc/environment": "PYTHONDONTWRITEBYTECODE=1\n",
            "etc/ssh/sshd_config.d/lab.conf": "UseDNS no\n",
            "root/.ssh/authorized_keys": self._key.with_suffix(".pub").read_text(),
        }
        for name, text in files.items():
            (changes / name).parent.mkdir(parents=True, exist_ok=True)
            (changes / name).write_text(text)
        (changes / "root/.ssh").chmod(0o700)
        (changes / "root").chmod(0o700)

    def _monitor(self, command: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(10)
            sock.connect(str(self._folder / "qmp"))
            stream = sock.makefile("rw")
            stream.readline()
            for word in ("qmp_capabilities", command):
                stream.write(json.dumps({"execute": word}) + "\n")
                stream.flush()
                while "return" not in json.loads(stream.readline()):
                    pass


def _make_image(tree: Path, image: Path, size: int) -> None:
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-d", str(tree), str(image)], check=True)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])

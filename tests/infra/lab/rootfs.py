"""The root file system of the lab's hosts: Debian packages only, made once and kept.

It lies outside the tree, under a name made of what goes into it; a machine that has none (a fresh
one of continuous integration) makes it in about a minute.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE = Path(os.environ.get("BASALT_LAB_CACHE", "/var/cache/basalt-lab"))

#: What a person would have on a server anyway, and what the roles install: the lab has no way out.
PACKAGES = """
    systemd-sysv dbus polkitd udev openssh-server chrony kmod procps iproute2 nftables openssl
    ca-certificates gnutls-bin python3-apt python3-venv python3-libnbd nbdkit
    nbdkit-plugin-python libnbd-bin fuse3 xfsprogs e2fsprogs util-linux nginx-light fio
    linux-image-cloud-amd64 initramfs-tools
""".split()  # noqa: SIM905 (read as a list of words)

_WITHOUT = ("man", "doc", "locale", "info")
_LIMIT_S = 600


def tree() -> Path:
    """The unpacked root file system; not to be written to (an overlay's lower folder)."""
    CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
    made = CACHE / f"rootfs-{_name()}"
    with _alone():
        if not made.is_dir():
            unfinished = CACHE / f"rootfs-{_name()}.new"
            shutil.rmtree(unfinished, ignore_errors=True)
            _bootstrap(unfinished)
            unfinished.rename(made)
    return made


def _name() -> str:
    words = "\n".join([*PACKAGES, *_WITHOUT, *_hook()])
    return hashlib.sha256(words.encode()).hexdigest()[:12]


def _hook() -> list[str]:
    """Commands run on the made tree, each with its path as ``$1``."""
    return [
        # Every host makes its own.
        'rm -f "$1"/etc/machine-id "$1"/var/lib/dbus/machine-id; : > "$1"/etc/machine-id',
        # nbdkit and nginx must not run before the roles say so.
        'rm -f "$1"/etc/nginx/sites-enabled/default',
        'chroot "$1" systemctl disable nginx nftables chrony apt-daily.timer '
        "apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer",
        'chroot "$1" systemctl enable systemd-networkd ssh',
        'printf "loop\\n" > "$1"/etc/modules-load.d/loop.conf',
    ]


def _bootstrap(target: Path) -> None:
    argv = ["mmdebstrap", "--quiet", "--variant=apt", "--mode=root"]
    argv += [f"--include={','.join(PACKAGES)}"]
    argv += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _WITHOUT]
    argv += [f"--customize-hook={command}" for command in _hook()]
    argv += _proxy()
    argv += [_codename(), str(target), *_sources()]
    subprocess.run(argv, check=True, timeout=_LIMIT_S, stdin=subprocess.DEVNULL)


def _sources() -> list[str]:
    """The machine's own, so that a mirror or a proxy it has is used here too."""
    folder = Path("/etc/apt/sources.list.d")
    files = [Path("/etc/apt/sources.list"), *folder.glob("*.sources"), *folder.glob("*.list")]
    return [str(file) for file in files if file.is_file() and _is_debians(file)]


def _is_debians(file: Path) -> bool:
    return bool(re.search(r"^(URIs:|deb ).*debian", file.read_text(), re.MULTILINE))


def _proxy() -> list[str]:
    done = subprocess.run(
        ["apt-config", "shell", "HTTP", "Acquire::http::Proxy", "HTTPS", "Acquire::https::Proxy"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    found = dict(re.findall(r"^(\w+)='(.*)'$", done.stdout, re.MULTILINE))
    return [f'--aptopt=Acquire::{name.lower()}::Proxy "{url}"' for name, url in found.items()]


def _codename() -> str:
    text = Path("/etc/os-release").read_text()
    found = re.search(r"^VERSION_CODENAME=(\w+)$", text, re.MULTILINE)
    return found[1] if found else "bookworm"


@contextmanager
def _alone() -> Iterator[None]:
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

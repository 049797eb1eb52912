"""What is measured side by side: our volume, stock nbdkit, and Ceph RBD where it is installed.

Each candidate keeps its bytes on RAM below ``work`` and says how fio reaches it.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

SIZE = 1 << 30


class Candidate(Protocol):
    """``engine`` are fio's arguments; ``close`` ends every process and removes every file."""

    name: str
    engine: list[str]

    def close(self) -> None: ...


class Proxy:
    """Stock nbdkit's ``nbd`` plugin before stock nbdkit ``file``: two hops, one copy, all C."""

    name = "proxy"

    def __init__(self, work: Path) -> None:
        self._work = work / "proxy"
        self._work.mkdir()
        image = self._work / "image"
        with image.open("wb") as file:
            file.truncate(SIZE)
        port = 10972
        self._kits = [_nbdkit("-i", "127.0.0.1", "-p", str(port), "file", str(image))]
        front = self._work / "front.sock"
        self._kits.append(_nbdkit("-U", str(front), "nbd", "hostname=127.0.0.1", f"port={port}"))
        _until(front.exists)
        self.engine = ["--ioengine=nbd", f"--uri=nbd+unix:///?socket={front}"]

    def close(self) -> None:
        for kit in reversed(self._kits):
            kit.terminate()
            kit.wait()
        shutil.rmtree(self._work, ignore_errors=True)


class Ours:
    """A two-copy volume of a cluster that is already up, by the NBD URI of its socket."""

    name = "ours"

    def __init__(self, uri: str, name: str = "ours") -> None:
        self.name = name
        self.engine = ["--ioengine=nbd", f"--uri={uri}"]

    def close(self) -> None:
        """The cluster is not this object's to end."""


class Ceph:
    """Ceph RBD with two OSDs (bluestore on RAM), two copies, through librbd."""

    name = "ceph"

    def __init__(self, work: Path) -> None:
        self._work = work / "ceph"
        for part in ("mon", "mgr", "osd0", "osd1"):
            (self._work / part).mkdir(parents=True)
        self._conf = self._work / "ceph.conf"
        fsid = str(uuid.uuid4())
        # Not the usual port: a monitor that a killed run left there would be asked instead.
        self._monitor = f"[v1:127.0.0.1:{_free_port()}]"
        self._conf.write_text(_CEPH_CONF.format(fsid=fsid, dir=self._work, monitor=self._monitor))
        try:
            self._start(fsid)
        except BaseException:
            self.close()
            raise
        os.environ["CEPH_CONF"] = str(self._conf)
        self.engine = [
            "--ioengine=rbd", "--clientname=admin", "--pool=rbd", "--rbdname=v1",
        ]  # fmt: skip

    def _start(self, fsid: str) -> None:
        monmap = str(self._work / "monmap")
        _run("monmaptool", "--create", "--addv", "a", self._monitor, "--fsid", fsid, monmap)
        self._ceph("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)
        self._ceph("ceph-mon", "-i", "a")
        for index in "01":
            osd = str(uuid.uuid4())
            self._ceph("ceph", "osd", "new", osd, index)
            self._ceph("ceph-osd", "-i", index, "--mkfs", "--osd-uuid", osd)
            self._ceph("ceph-osd", "-i", index)
        self._ceph("ceph-mgr", "-i", "x")
        self._ceph("ceph", "osd", "pool", "create", "rbd", "32", "32", "replicated")
        self._ceph("rbd", "create", "--size", "1G", "rbd/v1")

    def _ceph(self, program: str, *arguments: str) -> None:
        _run(program, "-c", str(self._conf), *arguments)

    def close(self) -> None:
        for pid_file in self._work.glob("*.pid"):
            with contextlib.suppress(OSError, ValueError):
                os.kill(int(pid_file.read_text()), signal.SIGKILL)
        shutil.rmtree(self._work, ignore_errors=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def ceph_installed() -> bool:
    return shutil.which("ceph-osd") is not None


_CEPH_CONF = """[global]
fsid={fsid}
mon_initial_members=a
mon_host={monitor}
auth_cluster_required=none
auth_service_required=none
auth_client_required=none
osd_pool_default_size=2
osd_pool_default_min_size=1
osd_crush_chooseleaf_type=0
bluestore_block_size=4294967296
bluestore_block_create=true
mon_data={dir}/mon
run_dir={dir}
log_file={dir}/$name.log
admin_socket={dir}/$name.asok
pid_file={dir}/$name.pid
ms_bind_ipv6=false
[osd.0]
osd_data={dir}/osd0
[osd.1]
osd_data={dir}/osd1
[mgr.x]
mgr_data={dir}/mgr
"""


def _nbdkit(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["nbdkit", "-f", "--exit-with-parent", *arguments])


def _run(*command: str) -> None:
    done = subprocess.run(
        command, check=False, timeout=120, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(command)}: exit code {done.returncode}: {done.stderr[-800:]}"
        )


def _until(condition: Callable[[], bool], limit_s: float = 10.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("not in time")
        time.sleep(0.01)

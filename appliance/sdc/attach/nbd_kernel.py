"""``/dev/nbdX``: the kernel's NBD client over generic netlink.

TIMEOUT and DEAD_CONN_TIMEOUT are both set, and there are two sockets at least: so a request
that is not answered in time is sent again instead of failing, and requests wait for a new
plugin while all sockets are dead (drivers/block/nbd.c). A new incarnation's sockets replace the
dead ones by RECONFIGURE under the file system's feet; the device never goes away.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from pyroute2.netlink.exceptions import NetlinkError

from appliance.common import errors
from appliance.sdc import processes
from appliance.sdc.attach import busy, interface, nbd_netlink, nbd_socket

logger = logging.getLogger(__name__)

#: Logical and physical block size of the device: the smallest any client needs.
_BLOCK_BYTES = 512


class NbdKernel:
    """An interface.Backend. The mapping's id is the device's backend identifier (Linux 5.14), by
    which the kernel refuses sockets meant for another device."""

    def __init__(
        self, connections: int, timeout_s: int, dead_timeout_s: int, tool_timeout_s: float
    ) -> None:
        self._connections = max(2, connections)
        self._timeout_s = timeout_s
        self._dead_timeout_s = dead_timeout_s
        self._tool_timeout_s = tool_timeout_s
        self._targets: dict[int, interface.Target] = {}
        self._lacking: dict[int, int] = {}  # sockets that died and could not be replaced yet
        self._mutex = threading.Lock()
        self._listener: threading.Thread | None = None

    def attach(self, target: interface.Target) -> interface.Attached:
        # Read by udev at the device's first event (systemd/60-basalt.rules).
        (target.folder / "udev").write_text(
            f"BASALT_VOLUME={target.volume_name}\n", encoding="utf-8"
        )
        left_over = _of(target.mapping_id)
        if left_over:
            # An agent died before it could write it down.
            return self.renew(interface.Attached("", left_over), target)
        with _sockets(target, self._connections) as ready, _family() as family:
            index = family.connect_device(
                [one.fd for one in ready],
                nbd_socket.size(target.socket),
                _BLOCK_BYTES,
                ready[0].flags,
                self._timeout_s,
                self._dead_timeout_s,
                target.mapping_id,
            )
        device = f"/dev/nbd{index}"
        self._watch(index, target)
        size = Path(f"/sys/block/nbd{index}/size")
        if not processes.poll_until(
            lambda: size.is_file() and int(size.read_text(encoding="ascii")) > 0,
            self._tool_timeout_s,
        ):
            self._disconnect(index)
            raise errors.Unavailable(why=f"{device} does not show its size in time")
        return interface.Attached(target.incarnation, device)

    def renew(self, held: interface.Attached, target: interface.Target) -> interface.Attached:
        if not _connected(held.device):
            return self.attach(target)
        index = _index(held.device)
        self._reconfigure(index, target, self._connections)
        self._watch(index, target)
        return interface.Attached(target.incarnation, held.device)

    def detach(self, held: interface.Attached, flush: bool, force: bool) -> None:
        if not _connected(held.device):
            return
        index = _index(held.device)
        if force:
            self._disconnect(index)
            return
        with busy.exclusive(held.device) as fd:
            if flush:
                busy.flush(held.device, fd)
            self._disconnect(index)

    def grow(self, held: interface.Attached, target: interface.Target, size: int) -> None:
        # nbdkit keeps to the size a connection was opened with, but these are not bounded by it
        # (nbd_socket), so the ones there are can go on.
        with _family() as family:
            family.resize(_index(held.device), size, target.mapping_id)

    def fault(self, held: interface.Attached) -> str:
        if _connected(held.device):
            self._replace_lacking(_index(held.device))
            return ""
        return f"{held.device} was disconnected from outside (nbd-client -d?)"

    def _disconnect(self, index: int) -> None:
        with self._mutex:
            self._targets.pop(index, None)
            self._lacking.pop(index, None)
        with _family() as family:
            family.disconnect_device(index)

    def _reconfigure(self, index: int, target: interface.Target, count: int) -> None:
        with _sockets(target, count) as ready, _family() as family:
            family.reconfigure(index, [one.fd for one in ready], target.mapping_id)

    def _watch(self, index: int, target: interface.Target) -> None:
        """From now on a socket of device ``index`` that dies is replaced by a new one."""
        with self._mutex:
            self._targets[index] = target
            self._lacking.pop(index, None)
            if self._listener is None:
                self._listener = threading.Thread(
                    target=self._listen, name="sdc-nbd-links", daemon=True
                )
                self._listener.start()

    def _listen(self) -> None:
        with nbd_netlink.Nbd() as family:
            for index in family.dead_links():
                with self._mutex:
                    target = self._targets.get(index)
                if target is not None:
                    self._replace_one(index, target)

    def _replace_one(self, index: int, target: interface.Target) -> None:
        """The kernel gave one socket up, perhaps only because its server held a request long.

        If the plugin is dead this fails, and the mapping renews the device later; else it is tried
        again (``fault``).
        """
        try:
            self._reconfigure(index, target, 1)
            logger.info("nbd_socket_replaced device=nbd%d", index)
        except errors.Unavailable as exc:
            logger.warning("nbd_socket_lost device=nbd%d why=%s", index, exc)
            with self._mutex:
                if self._targets.get(index) is target:
                    self._lacking[index] = self._lacking.get(index, 0) + 1

    def _replace_lacking(self, index: int) -> None:
        with self._mutex:
            lacking, target = self._lacking.pop(index, 0), self._targets.get(index)
        if target is not None:
            for _ in range(lacking):
                self._replace_one(index, target)


@contextlib.contextmanager
def _sockets(target: interface.Target, count: int) -> Iterator[list[nbd_socket.Ready]]:
    """``count`` sockets; the kernel holds its own reference to those it took."""
    ready: list[nbd_socket.Ready] = []
    try:
        for _ in range(count):
            ready.append(nbd_socket.connect(target.socket, target.read_only))
        yield ready
    finally:
        for one in ready:
            os.close(one.fd)


@contextlib.contextmanager
def _family() -> Iterator[nbd_netlink.Nbd]:
    try:
        with nbd_netlink.Nbd() as family:
            yield family
    except NetlinkError as exc:
        raise errors.Unavailable(why=f"the kernel's nbd refused: {exc}") from exc


def _of(mapping_id: str) -> str:
    """The connected device made for ``mapping_id``; empty if there is none."""
    for file in Path("/sys/block").glob("nbd*/backend"):
        with contextlib.suppress(OSError):
            if file.read_text(encoding="utf-8").strip() == mapping_id:
                return f"/dev/{file.parent.name}"
    return ""


def _index(device: str) -> int:
    return int(device.removeprefix("/dev/nbd"))


def _connected(device: str) -> bool:
    """Whether ``device`` has a configuration: only then nbd shows ``pid``."""
    return bool(device) and Path("/sys/block", Path(device).name, "pid").exists()

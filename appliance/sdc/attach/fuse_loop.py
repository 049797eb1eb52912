"""A block device without a kernel NBD driver: nbdfuse shows the NBD socket as a file, and a loop
device shows the file as a disk.

What nbdfuse 1.14.2 (Debian 12) and a 6.18 kernel do with it, seen in the plugin's own counters
(tests/integration/sdc/test_fuse_loop.py keeps it so): fsync, fdatasync and an O_SYNC write end
in one NBD flush each; FALLOC_FL_PUNCH_HOLE in NBD trim; FALLOC_FL_ZERO_RANGE in NBD write-zeroes
that may trim; a write reaches the server before it returns (no write-back cache). syncfs does
nothing, so it is never relied on. The loop device is a write-back disk (a file system's flush
is an fsync of the file) with discard and write-zeroes.

Direct I/O on the loop device is on: flushes arrive either way, but without it every page is
cached twice, a cached page hides what another client of a shared volume wrote, and one kernel
thread does all the work (over a RAM disk, two cores, 4 KiB at depth 32: 16 k IOPS with and 7.5 k
without; 1 MiB writes 1,200 against 420 MB/s). Sequential small reads lose the read-ahead.

nbdfuse cannot reconnect: when its server dies the device answers EIO for ever and is replaced.
"""

import logging
from pathlib import Path

from appliance.common import errors
from appliance.sdc import launch, processes
from appliance.sdc.attach import busy, interface, loop

logger = logging.getLogger(__name__)


class FuseLoop:
    """An interface.Backend. ``connections``: NBD connections of one device."""

    def __init__(
        self,
        launcher: launch.Launcher,
        connections: int,
        tool_timeout_s: float,
        stop_timeout_s: float,
        log_file: Path | None = None,
    ) -> None:
        self._launcher = launcher
        self._connections = connections
        self._tool_timeout_s = tool_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._log_file = log_file

    def attach(self, target: interface.Target) -> interface.Attached:
        mountpoint = target.folder / "fuse"
        file = mountpoint / target.volume_name
        # What an agent left that died before it could write it down.
        for device in loop.over(file):
            self._let_go(interface.Attached("", device, str(file)), flush=False)
        self._clear_away(mountpoint)
        mountpoint.mkdir(mode=0o700, exist_ok=True)
        server = self._serve(file, target)
        try:
            device = loop.attach(file, target.read_only, self._tool_timeout_s)
        except BaseException:
            self._end_server(mountpoint, server)
            raise
        ident = server.ident
        server.close()
        return interface.Attached(target.incarnation, device, str(file), ident)

    def renew(self, held: interface.Attached, target: interface.Target) -> interface.Attached:
        self.detach(held, flush=False, force=False)
        return self.attach(target)

    def detach(self, held: interface.Attached, flush: bool, force: bool) -> None:
        if self._holds(held) and not force:
            self._let_go(held, flush)
        elif self._holds(held):
            # Its server ends first: what hangs in the device fails, and then it can be opened.
            self._kill_server(held)
            with open(held.device, "rb", buffering=0) as disk:  # noqa: PTH123 (a device)
                loop.clear(disk.fileno())
        server = processes.Process.adopt(held.server) if held.server is not None else None
        self._end_server(Path(held.backing).parent, server)

    def grow(self, held: interface.Attached, target: interface.Target, size: int) -> None:
        """No: nbdfuse shows a file of the size that the volume had when it started."""

    def fault(self, held: interface.Attached) -> str:
        if not self._holds(held):
            return f"{held.device} was taken away from outside (losetup -d?)"
        server = processes.Process.adopt(held.server) if held.server is not None else None
        if server is None:
            return f"nbdfuse behind {held.device} ended"
        server.close()
        return ""

    def _holds(self, held: interface.Attached) -> bool:
        """Whether the device is still ours: its number may be another program's by now."""
        return bool(held.device) and loop.backing_file(held.device) == held.backing

    def _serve(self, file: Path, target: interface.Target) -> processes.Process:
        argv = ["nbdfuse", "-C", str(self._connections)]
        if target.read_only:
            argv.append("--readonly")
        argv += [str(file), "--unix", str(target.socket)]
        server = self._launcher.start(launch.FUSE, target.mapping_id, argv, self._log_file)

        # A look at mountinfo, not at the file: that could hang with its server.
        mounted = processes.poll_until(
            lambda: _is_mounted(file.parent) or not server.alive, self._tool_timeout_s
        )
        if not mounted or not server.alive:
            why = "it is not ready in time" if server.alive else "it ended; its log says why"
            self._end_server(file.parent, server)
            raise errors.Unavailable(why=f"nbdfuse does not serve {target.volume_name}: {why}")
        return server

    def _let_go(self, held: interface.Attached, flush: bool) -> None:
        with busy.exclusive(held.device) as fd:
            if flush:
                busy.flush(held.device, fd)
            loop.clear(fd)
        loop.wait_free(held.device, held.backing, self._tool_timeout_s)

    def _kill_server(self, held: interface.Attached) -> None:
        server = processes.Process.adopt(held.server) if held.server is not None else None
        if server is not None:
            server.kill()
            server.wait(self._stop_timeout_s)
            server.close()

    def _end_server(self, mountpoint: Path, server: processes.Process | None) -> None:
        """Unmount; nbdfuse then ends by itself. Its mount is always gone afterwards."""
        self._clear_away(mountpoint)
        if server is not None:
            if not server.wait(self._stop_timeout_s):
                server.stop(self._stop_timeout_s)
            server.close()
        if mountpoint.is_dir() and not _is_mounted(mountpoint):
            mountpoint.rmdir()

    def _clear_away(self, mountpoint: Path) -> None:
        while _is_mounted(mountpoint):
            try:
                processes.run(["umount", str(mountpoint)], self._tool_timeout_s)
            except errors.Unavailable as exc:
                # Somebody looks at the file, or nbdfuse hangs: the name goes, the rest follows.
                logger.info("umount_lazy path=%s why=%s", mountpoint, exc)
                processes.run(["umount", "--lazy", str(mountpoint)], self._tool_timeout_s)


def _is_mounted(mountpoint: Path) -> bool:
    return any(point == str(mountpoint) for _number, point, _kind in busy.mounts())

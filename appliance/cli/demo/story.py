"""The demo itself, step by step, told so that a stranger can follow and repeat it by hand."""

import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from appliance.cli import output, waiting
from appliance.cli.demo import copies, narration, tree
from appliance.cli.local import children, down, mounts, processes, state
from appliance.common import errors

#: Where ``make demo`` works.
DEFAULT_DIR = Path("/var/tmp/basalt-demo")  # noqa: S108 (up refuses one of another user)

_VOLUME = "demo"
_VICTIM = "sds2"

#: A single write that takes longer than this fails the demo.
_STALL_S = 5.0

_RESYNC_S = 300.0


class Story:
    """``tell`` does it all. Raises errors.BasaltError where it does not turn out as it should."""

    def __init__(self, directory: Path, source: Path, size: int, copy_bytes: int) -> None:
        self._dir = directory
        self._source = source
        self._size = size
        self._copy_bytes = copy_bytes
        self._mount = directory / "mnt"
        self._say = narration.Narration(steps=9)
        self._device = ""
        self._shown: list[str] = []

    def tell(self) -> None:
        output.say("Basalt: one volume, two copies of every byte, three servers.", "bold")
        self._say.tell("Everything runs on this host, with its own data, ports and logs, in")
        self._say.tell(f"{self._dir}. The last line printed removes it all.")
        with self._say.step("A cluster: one MDM, three storage servers (SDS), one client (SDC)"):
            self._cluster()
        with self._say.step(f"A thin volume of {output.size(self._size)}"):
            size = output.size(self._size).replace(" ", "")
            self._say.run("basalt", "volume", "create", _VOLUME, "--size", size)
        with self._say.step("Map it to this host: it becomes a block device"):
            self._map()
        with self._say.step("A file system on it, mounted"):
            self._say.run("mkfs.ext4", "-q", self._device)
            self._mount_it()
        with self._say.step(f"Copy files on to it, and kill {_VICTIM} in the midst of it"):
            sums = self._copy_and_kill()
        with self._say.step("Verify every file through a fresh mount, with one server dead"):
            self._verify(sums)
        with self._say.step("What does the cluster say?"):
            self._degraded()
        with self._say.step(f"Bring {_VICTIM} back: it catches up with what it missed"):
            self._bring_back()
        with self._say.step("Are both copies identical on the disks?"):
            self._compare(sums)
        self._summary()

    def _cluster(self) -> None:
        if state.load(self._dir) is not None:
            self._say.tell("an earlier demo is here: it is removed first")
            remove(self._dir)
        self._say.environ = dict(os.environ)
        self._say.run("basalt", "local", "up", "--dir", str(self._dir))
        self._say.environ = {**os.environ, **self._say.ask(*self._local("env"))}
        self._shown.append("a cluster of six processes came up from nothing")

    def _map(self) -> None:
        self._say.run("basalt", "volume", "map", _VOLUME, "--sdc", state.SDC)
        mapping = self._volume()["mappings"][0]
        self._device = mapping["device"]
        if not self._device:
            raise errors.Unavailable(
                why=f"no block device can be made here: {mapping['backend_reason']}",
                next="load the kernel's nbd module, or give this host /dev/fuse and loop devices",
            )
        self._shown.append(f"the volume was {self._device} ({mapping['used_backend']})")

    def _mount_it(self) -> None:
        self._mount.mkdir(exist_ok=True)
        self._say.run("mount", self._device, str(self._mount))

    def _copy_and_kill(self) -> dict[Path, str]:
        files = tree.choose(self._source, self._copy_bytes)
        total = sum(size for _, size in files)
        self._say.tell(f"{len(files)} files, {output.size(total)}, from {self._source}")
        done = 0
        killed_at = ""
        with output.progress() as bar, tree.Pulse(self._mount / "pulse") as pulse:
            task = bar.add_task("    copying", total=total)

            def written(count: int) -> None:
                nonlocal done, killed_at
                done += count
                bar.update(task, completed=done)
                if not killed_at and done >= total // 3:
                    killed_at = self._kill()

            sums = tree.copy(self._source, self._mount, [path for path, _ in files], written)
            os.sync()
        self._say.tell(killed_at)
        self._say.tell(f"all {len(sums)} files were written; the longest that any of")
        self._say.tell(
            f"{pulse.writes} small synchronous writes beside took: {pulse.longest_s:.2f} s"
        )
        if pulse.longest_s > _STALL_S:
            raise errors.Unavailable(why=f"writes stalled for {pulse.longest_s:.1f} s")
        self._shown.append(f"{_VICTIM} was killed while files were written: no error,")
        self._shown.append(f"  and no write took longer than {pulse.longest_s:.2f} s")
        return sums

    def _kill(self) -> str:
        process = state.need(self._dir).processes[_VICTIM]
        processes.kill(process)
        return f"{_VICTIM} (pid {process.pid}) was killed with SIGKILL after a third of the bytes"

    def _verify(self, sums: dict[Path, str]) -> None:
        self._say.run("umount", str(self._mount))
        self._say.run("blockdev", "--flushbufs", self._device)
        self._mount_it()
        self._check_sums(sums)
        self._shown.append(f"all {len(sums)} files had their SHA-256 with one server dead")

    def _check_sums(self, sums: dict[Path, str]) -> None:
        with output.progress() as bar:
            task = bar.add_task(
                "    reading", total=sum(f.stat().st_size for f in self._files(sums))
            )
            bad = tree.damaged(self._mount, sums, lambda count: bar.advance(task, count))
        if bad:
            raise errors.Damaged(path=self._mount / bad[0], why=f"{len(bad)} files are wrong")
        self._say.tell(f"{len(sums)} of {len(sums)} files have the SHA-256 they had at the source")

    def _files(self, sums: dict[Path, str]) -> list[Path]:
        return [file for path in sums if (file := self._mount / path).exists()]

    def _degraded(self) -> None:
        waiting.until(
            lambda: self._say.ask("basalt", "status"),
            lambda seen: seen["health"] == "degraded",
            f"the status to tell of {_VICTIM}'s death",
            limit_s=30.0,
        )
        self._say.run("basalt", "status")
        self._shown.append("the status said degraded, why, and what to do")

    def _bring_back(self) -> None:
        self._say.run(*self._local("up"))
        with output.progress() as bar:
            task = bar.add_task("    resync", total=None)

            def ask() -> bool:
                jobs = self._say.ask("basalt", "volume", "status", _VOLUME)["jobs"]
                if jobs:
                    done, total = jobs[0]["done_bytes"], jobs[0]["total_bytes"]
                    bar.update(task, completed=done, total=total or None)
                return self._volume()["health"] == "healthy"

            waiting.until(ask, bool, "both copies to be equal again", _RESYNC_S, quiet=True)
        self._say.run("basalt", "volume", "status", _VOLUME)

    def _compare(self, sums: dict[Path, str]) -> None:
        self._say.run("umount", str(self._mount))
        different = copies.differences(self._volume())
        if different:
            raise errors.Damaged(path=different[0], why=f"{len(different)} units differ")
        self._say.tell(
            "every stripe unit with data was read from both of its disks: they are identical"
        )
        self._mount_it()
        self._shown.append(f"{_VICTIM} came back, and both copies are identical on disk")

    def _summary(self) -> None:
        output.line()
        output.say("What you have seen", "bold")
        for line in self._shown:
            self._say.tell(line)
        output.line()
        rows = [(title, f"{took_s:.1f} s") for title, took_s in self._say.times]
        total_s = sum(took_s for _, took_s in self._say.times)
        output.table(["step", ">time"], [*rows, ("all of it", f"{total_s:.1f} s")])
        output.line()
        output.say("Look around", "bold")
        basalt = Path(sys.executable).parent / "basalt"
        output.line(f'    eval "$({shlex.join([str(basalt), *self._local("env")[1:]])})"')
        for line in ("basalt status", f"basalt volume show {_VOLUME}", "basalt event list"):
            output.line(f"    {line}")
        output.line(f"    ls {shlex.quote(str(self._mount))}")
        self._login()
        if self._dir == DEFAULT_DIR:
            output.line("    make demo-down")
        else:
            down_words = [
                sys.executable,
                "-m",
                "appliance.cli.demo",
                "down",
                "--dir",
                str(self._dir),
            ]
            output.line(f"    {shlex.join(down_words)}")

    def _login(self) -> None:
        cluster = state.need(self._dir)
        password = state.mgmt_password(self._dir).read_text(encoding="ascii").strip()
        output.line()
        output.say("The pages for people", "bold")
        output.line(f"    {children.mgmt_url(cluster)}/")
        output.line(f"    user admin, password {password}")
        output.line()
        output.say("Remove it all", "bold")

    def _local(self, verb: str) -> tuple[str, ...]:
        return ("basalt", "local", verb, "--dir", str(self._dir))

    def _volume(self) -> dict[str, Any]:
        found: dict[str, Any] = self._say.ask("basalt", "volume", "show", _VOLUME)
        return found


def remove(directory: Path) -> None:
    """Unmount the volume, stop the cluster, and delete it with all it has."""
    if state.load(directory) is None:
        output.line(f"there is no demo in {directory}")
        return
    began = time.monotonic()
    mounts.release(directory / "mnt")
    down.down(directory, purge=True, force=True, say=output.note)
    output.line(f"every trace of the demo is gone ({time.monotonic() - began:.1f} s)")

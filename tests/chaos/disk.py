"""A disk that can break: a file whose every read and write answers EIO while a trigger exists.

nbdkit's error filter below nbdfuse; a host's loop device over it does not know the difference. It
belongs to whoever made the cluster, not to the host, as a disk does.
"""

import shutil
import subprocess
from pathlib import Path

from tests.chaos import deadline


class Disk:
    """``image`` holds the bytes; ``file`` is the disk, for ``losetup`` or ``mkfs``."""

    def __init__(self, image: Path) -> None:
        self._trigger = image.with_name("broken")
        folder = image.with_name("fuse")
        folder.mkdir()
        self.file = folder / image.name
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "nbdfuse", str(self.file),
             "[", "nbdkit", "--exit-with-parent", "--filter=error", "file", str(image),
             "error=EIO", "error-rate=100%", f"error-file={self._trigger}",
             "]"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        deadline.wait(self.file.exists, bool, f"the disk {self.file}")

    def break_down(self) -> None:
        """Every request fails from now on."""
        self._trigger.touch()

    def repair(self) -> None:
        self._trigger.unlink(missing_ok=True)

    def close(self) -> None:
        """Nobody uses it any more."""
        subprocess.run(["umount", "--lazy", self.file.parent], check=False, timeout=60)
        # It would stay as long as any mount namespace has a copy of the mount: those of other
        # clusters, made meanwhile, do.
        self._process.kill()
        self._process.wait(60)
        shutil.rmtree(self.file.parent, ignore_errors=True)

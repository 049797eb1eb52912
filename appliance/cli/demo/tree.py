"""Copying a real tree of files, measuring how long its writes stall, and verifying every byte."""

import hashlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

_CHUNK = 1024 * 1024

#: So much may lie in the page cache before it is written out: else the disk would see nothing
#: until the end, and a server's death in between would show nothing.
_FLUSH_BYTES = 8 * _CHUNK


def choose(source: Path, limit_bytes: int) -> list[tuple[Path, int]]:
    """Regular files below ``source`` with their sizes, ``limit_bytes`` in all at most."""
    found = []
    total = 0
    for folder, folders, names in os.walk(source):
        folders.sort()
        for name in sorted(names):
            path = Path(folder) / name
            if path.is_symlink() or not path.is_file() or not os.access(path, os.R_OK):
                continue
            size = path.stat().st_size
            if total + size <= limit_bytes:
                found.append((path.relative_to(source), size))
                total += size
    return found


def copy(
    source: Path, target: Path, files: list[Path], written: Callable[[int], None]
) -> dict[Path, str]:
    """Copy ``files`` and return the SHA-256 of what was read; ``written(bytes)`` at each chunk."""
    sums = {}
    unflushed = 0
    for path in files:
        out = target / path
        out.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with (source / path).open("rb") as reader, out.open("wb") as writer:
            while chunk := reader.read(_CHUNK):
                writer.write(chunk)
                digest.update(chunk)
                unflushed += len(chunk)
                if unflushed >= _FLUSH_BYTES:
                    writer.flush()
                    os.fsync(writer.fileno())
                    unflushed = 0
                written(len(chunk))
        sums[path] = digest.hexdigest()
    return sums


def damaged(target: Path, sums: dict[Path, str], read: Callable[[int], None]) -> list[Path]:
    """The files below ``target`` that are missing or not what they were; ``read(bytes)``."""
    bad = []
    for path, wanted in sums.items():
        digest = hashlib.sha256()
        try:
            with (target / path).open("rb") as reader:
                while chunk := reader.read(_CHUNK):
                    digest.update(chunk)
                    read(len(chunk))
        except OSError:
            bad.append(path)
            continue
        if digest.hexdigest() != wanted:
            bad.append(path)
    return bad


class Pulse:
    """Writes 4 KiB synchronously to a file, again and again; remembers the longest time one took.

    Used as a context manager. An error of a write ends it and is raised at the end.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stop = threading.Event()
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="pulse")
        self.longest_s = 0.0
        self.writes = 0

    def __enter__(self) -> "Pulse":
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        block = bytes(4096)
        try:
            fd = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_DSYNC, 0o600)
            while not self._stop.wait(0.02):
                began = time.monotonic()
                os.pwrite(fd, block, 0)
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                self.writes += 1
            os.close(fd)
        except OSError as exc:
            self._error = exc

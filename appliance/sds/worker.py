"""A child process that works on a replica: told its job on stdin, telling lines on stdout.

Used by ``copies`` and ``scrubs``. It inherits the shared flock, so that a seal can prove its end,
and ends itself when its stdin ends, for then its agent is dead.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from appliance.protocol import codec
from appliance.sds import processes

logger = logging.getLogger(__name__)

#: How long a process whose output ended may take to end itself.
_END_S = 10.0


class Worker:
    """``python -m module`` with ``job`` as its first line.

    ``take`` is called with each line it tells, ``finished`` with its exit status; both from a
    thread of this worker.
    """

    def __init__(
        self,
        module: str,
        job: Any,
        lock_fd: int,
        starter: processes.Starter,
        take: Callable[[str], None],
        finished: Callable[[int], None],
    ) -> None:
        self._take = take
        self._finished = finished
        their_in, self._in = os.pipe2(os.O_CLOEXEC)
        out, their_out = os.pipe2(os.O_CLOEXEC)
        try:
            self._process = starter.start(
                [sys.executable, "-m", module],
                {0: their_in, 1: their_out, 3: lock_fd},
                {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
                lambda: None,
            )
        except OSError:
            os.close(self._in)
            os.close(out)
            raise
        finally:
            os.close(their_in)
            os.close(their_out)
        self._out = out  # closed by the reader
        self._reader = threading.Thread(target=self._read, name="sds-worker", daemon=True)
        self.send(codec.to_json(job))
        self._reader.start()

    @property
    def ended(self) -> bool:
        """The process is gone, and all that it told was taken."""
        return not self._process.alive and not self._reader.is_alive()

    def send(self, message: object) -> None:
        """One more line for it to read."""
        data = json.dumps(message).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self._in, data) :]
        except BrokenPipeError:  # it ended; the reader tells
            logger.info("worker_gone pid=%d", self._process.pid)

    def kill(self) -> None:
        """SIGKILL. Does not wait."""
        self._process.kill()

    def close(self, limit_s: float) -> None:
        """SIGKILL and wait for the end. It is proved by the fence, not here."""
        self._process.kill()
        self._process.wait(limit_s)
        self._reader.join(limit_s)
        if self._in >= 0:
            os.close(self._in)
            self._in = -1

    def _read(self) -> None:
        with os.fdopen(self._out, encoding="utf-8") as lines:
            for line in lines:
                self._take(line)
        self._process.wait(_END_S)
        self._finished(self._process.status)

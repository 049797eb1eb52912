"""The agent's side of a copy: starts the copier process, reads its progress, ends it (R8).

Called by ``legs``. What the copier does is in ``copier``; it inherits the shared flock, so that a
seal can prove its end.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import replace

from appliance.common import errors
from appliance.protocol import codec, messages
from appliance.sds import copy_job, processes

logger = logging.getLogger(__name__)

#: How long a copier whose output ended may take to end itself.
_END_S = 10.0


class Copy:
    """One run of the copier. ``report`` is its newest word; ``on_change`` is called after each.

    ``settle`` is called, in a thread of this copy, when the copier is through: it makes sure
    that all is on disk before the report says done. ``device_failed`` is called with the reason
    if the copier could not write for a broken device.
    """

    def __init__(
        self,
        job: copy_job.Job,
        lock_fd: int,
        starter: processes.Starter,
        settle: Callable[[], None],
        on_change: Callable[[], None],
        device_failed: Callable[[str], None],
    ) -> None:
        self.order = job.order
        self.report = messages.CopyReport(job.order.generation, 0, 0)
        self._settle = settle
        self._on_change = on_change
        self._device_failed = device_failed
        their_in, self._in = os.pipe2(os.O_CLOEXEC)
        out, their_out = os.pipe2(os.O_CLOEXEC)
        try:
            self._process = starter.start(
                [sys.executable, "-m", "appliance.sds.copier"],
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
        self._reader = threading.Thread(target=self._read, name="sds-copy", daemon=True)
        self._send(codec.to_json(job))
        self._reader.start()

    @property
    def broken(self) -> bool:
        """It ended and is not done: to be started anew."""
        return not self._process.alive and not self._reader.is_alive() and not self.report.done

    def serves(self, order: messages.CopyOrder) -> bool:
        """Whether this run is what ``order`` wants, its bandwidth apart."""
        return replace(order, bandwidth=self.order.bandwidth) == self.order

    def throttle(self, bandwidth: int) -> None:
        """Go on at ``bandwidth`` bytes a second."""
        if bandwidth != self.order.bandwidth:
            self.order = replace(self.order, bandwidth=bandwidth)
            self._send({"bandwidth": bandwidth})

    def kill(self) -> None:
        """SIGKILL the copier. Does not wait."""
        self._process.kill()

    def close(self, limit_s: float) -> None:
        """SIGKILL the copier and wait for its end. Its end is proved by the fence, not here."""
        self._process.kill()
        self._process.wait(limit_s)
        self._reader.join(limit_s)
        if self._in >= 0:
            os.close(self._in)
            self._in = -1

    def _send(self, message: object) -> None:
        data = json.dumps(message).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self._in, data) :]
        except BrokenPipeError:  # it ended; the reader tells
            logger.info("copier_gone pid=%d", self._process.pid)

    def _read(self) -> None:
        with os.fdopen(self._out, encoding="utf-8") as lines:
            for line in lines:
                try:
                    self._take(codec.from_json(messages.CopyReport, json.loads(line)))
                except errors.DeviceFailed as exc:
                    self._fail(str(exc))
                except (errors.BasaltError, ValueError) as exc:
                    self.report = replace(self.report, done=False, error=str(exc))
        self._process.wait(_END_S)
        if self._process.status == copy_job.EXIT_DEVICE_FAILED:
            self._fail(self.report.error)
        elif not self.report.done and not self.report.error:
            why = f"the copier ended with status {self._process.status}"
            self.report = replace(self.report, error=why)
        self._on_change()

    def _fail(self, why: str) -> None:
        self.report = replace(self.report, done=False, error=why)
        self._device_failed(why)

    def _take(self, report: messages.CopyReport) -> None:
        if report.done:
            self._settle()
        before, self.report = self.report, report
        # Mere progress waits for the next heartbeat.
        if (before.done, before.waiting, before.error, before.waiting_for) != (
            report.done,
            report.waiting,
            report.error,
            report.waiting_for,
        ):
            self._on_change()

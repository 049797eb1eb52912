"""One device's part of the volume over NBD, as the scrubber uses it: bytes, sums, marks."""

import errno
import functools
from collections.abc import Callable
from typing import TypeVar

import nbd

from appliance.common import clock, errors, tls
from appliance.domain import intents, sums
from appliance.protocol import messages
from appliance.sds.copier import source

T = TypeVar("T")


class Export(source.Source):
    """An export that is written too. Used by one thread at a time."""

    def write(self, offset: int, data: bytes | bytearray, fua: bool = False) -> None:
        flags = nbd.CMD_FLAG_FUA if fua else 0
        with self._connection() as handle:
            cookie = handle.aio_pwrite(bytearray(data), offset, flags=flags)
            self._wait(handle, lambda: handle.aio_command_completed(cookie))

    def flush(self) -> None:
        with self._connection() as handle:
            cookie = handle.aio_flush()
            self._wait(handle, lambda: handle.aio_command_completed(cookie))


class Replica:
    """Every method raises errors.Unreachable if the server does not answer (any more), and
    errors.DeviceFailed if the device said EIO."""

    def __init__(
        self,
        order: messages.ScrubLeg,
        size: int,
        unit: int,
        time: clock.Clock,
        data_tls: tls.DataTls,
    ) -> None:
        self.device_id = order.leg.device_id
        self._size = size
        self._unit = unit
        self._data = Export(order.leg, order.leg.data_export, time, data_tls)
        self._sums = Export(order.leg, order.sums_export, time, data_tls)
        self._marks = [
            source.Source(order.leg, name, time, data_tls) for name in order.intents.values()
        ]
        self._where = f"{order.leg.device_id} of SDS {order.leg.sds_name}"

    def read(self, offset: int, length: int) -> bytearray:
        return self._tried(lambda: self._data.read(offset, length))

    def zeroes(self, offset: int, length: int) -> source.Extents:
        """Ranges that are known to read as zeroes."""
        return self._tried(lambda: self._data.zeroes(offset, length))

    def write(self, offset: int, data: bytes | bytearray) -> None:
        """Durable on return. Only where no client can write (see ``run``)."""
        self._tried(lambda: self._data.write(offset, data, fua=True))

    def sums(self, region: int) -> bytes:
        """What is recorded for the units of ``region``."""
        offset, length = sums.row(region, self._size, self._unit)
        return bytes(self._tried(lambda: self._sums.read(offset, length)))

    def record(self, region: int, found: bytes) -> None:
        """Durable on return: what voids the touched mark after it must not come before it."""
        offset, _ = sums.row(region, self._size, self._unit)

        def _write() -> None:
            self._sums.write(offset, found)
            self._sums.flush()

        self._tried(_write)

    def marks(self, regions: range) -> bytearray:
        """The blocks of all intent files that ``regions`` lie in, united, as one file."""
        first = intents.block_of(regions.start) * intents.BLOCK_BYTES
        end = (intents.block_of(regions.stop - 1) + 1) * intents.BLOCK_BYTES
        united = bytearray(end)
        for file in self._marks:
            block = self._tried(functools.partial(file.read, first, end - first))
            united[first:end] = intents.union(united[first:end], block)
        return united

    def _tried(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except errors.Unreachable as exc:
            cause = exc.__cause__
            if isinstance(cause, nbd.Error) and cause.errnum == errno.EIO:
                raise errors.DeviceFailed(
                    device=self._where, why=str(exc), ident=self.device_id
                ) from exc
            raise

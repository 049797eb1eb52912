"""What a copy has to do, as steps of at most a stripe unit. Pure; used by ``run``."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from appliance.common import units
from appliance.domain import layout, model
from appliance.protocol import messages
from appliance.sds import copy_job

#: Longest step, in bytes: what a client's writes are held up for.
STEP_BYTES = units.MIB

#: The source is asked about holes once per this many bytes of the volume.
CHUNK_BYTES = 256 * units.MIB


@dataclass(frozen=True, slots=True)
class Step:
    """``[offset, offset + length)`` of ``column``, to be made equal to its source."""

    column: messages.ColumnCopy
    offset: int
    length: int


def steps(job: copy_job.Job, dirty: Collection[int], start: int, end: int) -> Iterator[Step]:
    """Steps of the part ``[start, end)`` of the volume; ``start`` lies on a unit's boundary.

    ``dirty`` are the marked regions, which is all that is copied of a column not ``full``.
    """
    columns = {column.column: column for column in job.order.columns}
    for offset in range(start, end, job.unit):
        column = columns.get(offset // job.unit % job.ncols)
        if column is None:
            continue
        stop = min(offset + job.unit, end)
        for at in range(offset, stop, STEP_BYTES):
            length = min(STEP_BYTES, stop - at)
            if column.full or any(r in dirty for r in layout.regions(at, length)):
                yield Step(column, at, length)


def chunks(job: copy_job.Job, dirty: Collection[int]) -> Iterator[tuple[int, int]]:
    """Parts of the volume in which there may be a step."""
    size = max(job.unit, CHUNK_BYTES // job.unit * job.unit)
    full = any(column.full for column in job.order.columns)
    touched = {region * model.REGION_BYTES // size for region in dirty}
    touched |= {((region + 1) * model.REGION_BYTES - 1) // size for region in dirty}
    for start in range(0, job.size, size):
        if full or start // size in touched:
            yield start, min(start + size, job.size)


def total_bytes(job: copy_job.Job, dirty: Collection[int]) -> int:
    """Bytes of all steps."""
    full = frozenset(column.column for column in job.order.columns if column.full)
    total = layout.own_bytes(full, job.ncols, job.size, job.unit)
    partly = frozenset(column.column for column in job.order.columns) - full
    if not partly:
        return total
    for region in dirty:
        start = region * model.REGION_BYTES
        end = min(start + model.REGION_BYTES, job.size)
        for column, _offset, length in layout.split(
            start, max(0, end - start), job.ncols, job.unit
        ):
            if column in partly:
                total += length
    return total

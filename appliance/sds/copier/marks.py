"""Which regions a copy by marks has to take: the union of the target's and the sources' intents.

It is durable in ``intent.join`` before the first step, so that what was marked on a source is
still known here when the source is gone (R8).
"""

from collections.abc import Callable
from pathlib import Path

from appliance.common import durable
from appliance.domain import intents
from appliance.sds import ballast, copy_job, replica_store

#: Reads one intent file of a source: (index of the column in the order, export name) → bytes.
ReadRemote = Callable[[int, str], bytearray]


def join(job: copy_job.Job, read_remote: ReadRemote) -> frozenset[int]:
    """Regions to copy of the columns that are not ``full``. Raises OSError, Unreachable."""
    if all(column.full for column in job.order.columns):
        return frozenset()
    folder = Path(job.folder)
    files: list[bytes | bytearray] = [
        file.read_bytes()
        for file in folder.iterdir()
        if file.name.startswith(replica_store.INTENT) and file.suffix != ".tmp"
    ]
    for index, column in enumerate(job.order.columns):
        if not column.full:
            files += [read_remote(index, name) for name in column.source_intents.values()]
    joined = intents.union(*files, bytes(intents.file_length(job.size)))
    # On a full device there is ballast; the agent takes it back.
    spare = ballast.Ballast(folder.parent.parent / "ballast", 0)
    spare.write(lambda: durable.replace_file(folder / replica_store.JOIN, bytes(joined)))
    return frozenset(intents.dirty_regions(joined))


def clear(job: copy_job.Job) -> None:
    """The copy is done and on disk: forget the union, durably, unless it is needed still."""
    if job.keep_join:
        return
    folder = Path(job.folder)
    (folder / replica_store.JOIN).unlink(missing_ok=True)
    durable.sync_dir(folder)

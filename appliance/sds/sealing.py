"""A turn at one device: the old generation's processes proved dead, the new one durable, served.

Called by ``leg`` in a pool, one thread per leg (R4). Nothing is reported as sealed before
volume.json says so on disk.
"""

import logging
from collections.abc import Callable
from dataclasses import replace

from appliance.common import errors
from appliance.protocol import messages
from appliance.sds import adoption, data_file, exports, fence, leg_state, replica_store

logger = logging.getLogger(__name__)


def seal(
    site: leg_state.Site,
    state: leg_state.State,
    order: messages.LegOrder,
    written: Callable[[int], None],
) -> leg_state.State:
    """The state in ``order.generation``, which is above ``state.generation``.

    ``written`` is called with the generation just before it may be durable. Raises BasaltError
    or OSError if the leg is not sealed; it may be called again then. A seal that succeeded but
    cannot be served or allocated says so in ``error``.
    """
    tools, replica = site.tools, site.replica
    leg_state.end_processes(state, tools)
    volume = _described(order, state.volume, site.label)
    if state.volume is None:
        written(volume.generation)
        site.device.metadata(lambda: replica.create(volume, order.incarnations))
    with fence.Fence(replica.lock, tools.death_limit_s) as held:
        if state.volume is not None:
            written(volume.generation)
            site.device.metadata(lambda: _prepare(replica, volume, order))
        data = state.data or data_file.DataFile(replica.data)
        try:
            return _served(site, order, volume, data, held)
        except BaseException:
            if state.data is None:
                data.close()
            raise


def delete(
    site: leg_state.Site, state: leg_state.State, order: messages.LegOrder
) -> leg_state.State:
    """Leave nothing of the volume on the device, once nobody can write to it any more."""
    leg_state.end_processes(state, site.tools)
    if state.volume is not None:
        with fence.Fence(site.replica.lock, site.tools.death_limit_s):
            if state.data is not None:
                state.data.close()
            site.replica.delete()
        logger.info("deleted volume=%s device=%s", order.volume_id, order.device_id)
    return leg_state.State(cache_id=site.device.cache_id, deleted=True)


def allocated(
    site: leg_state.Site, volume: replica_store.VolumeFile, data: data_file.DataFile
) -> replica_store.VolumeFile:
    """``volume`` with its own units allocated if it is thick, durably. Raises NoCapacity."""
    if not leg_state.needs_allocation(volume):
        return volume
    site.replica.allocate(data.fileno(), volume)
    done = replace(volume, allocated_bytes=volume.size)
    site.device.metadata(lambda: site.replica.write(done))
    return done


def check_ours(volume: replica_store.VolumeFile, volume_id: str, label: adoption.Label) -> None:
    """Raises errors.Damaged if volume.json is of another volume, device or cluster."""
    found = (volume.id, volume.device_id, volume.cluster_id)
    if found != (volume_id, label.device_id, label.cluster_id):
        raise errors.Damaged(
            path=f"volume {volume_id} on device {label.device_id}",
            why="its volume.json is of volume {} on device {} of cluster {}; "
            "it is left as it is".format(*found),
        )


def _described(
    order: messages.LegOrder, have: replica_store.VolumeFile | None, label: adoption.Label
) -> replica_store.VolumeFile:
    """What volume.json shall say in the order's generation."""
    volume = replica_store.VolumeFile(
        id=order.volume_id,
        name=order.name,
        cluster_id=label.cluster_id,
        device_id=label.device_id,
        size=order.size,
        unit=order.unit,
        ncols=order.ncols,
        thin=order.thin,
        columns=order.columns,
        generation=order.generation,
        created=order.generation,
        chart=order.chart,
    )
    if have is None:
        return volume
    if (have.unit, have.ncols, have.thin) != (volume.unit, volume.ncols, volume.thin):
        raise errors.Conflict(
            why=f"the order has units of {order.unit} bytes in {order.ncols} columns "
            f"(thin={order.thin}), volume.json {have.unit} in {have.ncols} (thin={have.thin})"
        )
    if have.size > volume.size:
        raise errors.Conflict(
            why=f"the order is for {order.size} bytes, the replica has {have.size}; none shrinks"
        )
    return replica_store.described(have, replace(volume, created=have.created))


def _prepare(
    replica: replica_store.Replica,
    volume: replica_store.VolumeFile,
    order: messages.LegOrder,
) -> None:
    replica.grow(volume.size)
    replica.add_intents(order.incarnations, volume.size)
    replica.write(volume)
    replica.remove_intents(set(replica.intents()) - set(order.incarnations))


def _served(
    site: leg_state.Site,
    order: messages.LegOrder,
    volume: replica_store.VolumeFile,
    data: data_file.DataFile,
    held: fence.Fence,
) -> leg_state.State:
    if order.flush or order.retire:
        data.sync()
    problem = ""
    if not order.serve:  # clients wait for a seal that serves: it is done when the turn is over
        try:
            volume = allocated(site, volume, data)
        except errors.NoCapacity as exc:
            problem = str(exc)
    export: exports.Export | None = None
    if order.serve:
        try:
            export = _serve(site, order, held)
        except (OSError, errors.Unavailable) as exc:
            problem = f"generation {volume.generation} is sealed but not served: {exc}"
    return leg_state.State(
        cache_id=site.device.cache_id,
        volume=volume,
        data=data,
        export=export,
        intents=tuple(site.replica.intents()),
        used_bytes=data.used_bytes(),
        flushed=order.flush,
        synced=frozenset(order.retire),
        error=problem,
    )


def _serve(site: leg_state.Site, order: messages.LegOrder, held: fence.Fence) -> exports.Export:
    with held.share() as lock_fd:
        return site.tools.exports.open(
            site.replica, order.generation, order.incarnations, lock_fd, site.tools.changed
        )

"""An order of the generation that is sealed already: states, intent files, copy, end of service.

Called by ``leg`` in a pool, one thread per leg. Never starts a server (R4) and never adds an
intent file: both take a turn.
"""

import logging
from collections.abc import Callable
from dataclasses import replace

from appliance.common import errors, log
from appliance.domain import model
from appliance.protocol import messages
from appliance.sds import (
    copies,
    copy_job,
    data_file,
    fence,
    leg_state,
    replica_store,
    scrubs,
    sealing,
)

logger = logging.getLogger(__name__)

#: Runs of units whose space is given back at once, in some tens of milliseconds: a turn may come.
_GIVE_BACK_RUNS = 2000


def follow(
    site: leg_state.Site,
    state: leg_state.State,
    order: messages.LegOrder,
    device_failed: Callable[[str], None],
) -> leg_state.State:
    """The state after ``order``. Raises BasaltError or OSError; what was done then stays done.

    ``device_failed`` is called, from any thread, if a copy finds the device broken.
    """
    volume, data = state.volume, state.data
    if volume is None or data is None or volume.generation != order.generation:
        raise ValueError("only an order of the sealed generation can be followed")
    before, volume = volume, _described(site, volume, order)
    if not order.serve and state.export is not None:
        leg_state.end_processes(state, site.tools)
        state = replace(state, export=None, copy=None, scrub=None)
    if new := set(order.retire) - state.synced:
        data.sync()
        logger.info("retired volume=%s incarnations=%s", volume.id, ",".join(sorted(new)))
    if gone := set(site.replica.intents()) - set(order.incarnations):
        for incarnation in gone:
            if state.export is not None:
                site.tools.exports.withdraw(state.export, incarnation)
        site.replica.remove_intents(gone)
    state = replace(
        state,
        volume=volume,
        given_back=state.given_back if volume.leaving == before.leaving else 0,
        cache_id=site.device.cache_id,
        intents=tuple(site.replica.intents()),
        synced=frozenset(order.retire),
        used_bytes=data.used_bytes(),
    )
    # Why a sealed generation is not served stays true until the next one.
    error = state.error if state.export is None and order.serve else ""
    try:
        state = replace(state, volume=sealing.allocated(site, volume, data))
    except errors.NoCapacity as exc:
        error = str(exc)
    state = _given_back(site, state, data)
    copy = _copy(site, state, order, device_failed)
    return replace(state, copy=copy, scrub=_scrub(site, state, order), error=error)


def _described(
    site: leg_state.Site, have: replica_store.VolumeFile, order: messages.LegOrder
) -> replica_store.VolumeFile:
    """Name, states and chart follow the order, durably; size and generation take a turn."""
    new = replace(have, name=order.name, columns=order.columns, chart=order.chart)
    volume = replica_store.described(have, new)
    if volume != have:
        site.device.metadata(lambda: site.replica.write(volume))
    return volume


def _given_back(
    site: leg_state.Site, state: leg_state.State, data: data_file.DataFile
) -> leg_state.State:
    """Free some of the space of columns that moved elsewhere; ``leg`` comes back for the rest."""
    volume = state.volume
    if volume is None or not volume.leaving:
        return state
    done = site.replica.give_back(data.fileno(), volume, state.given_back, _GIVE_BACK_RUNS)
    if done < volume.size:
        return replace(state, given_back=done)
    data.sync()
    empty = replace(volume, leaving=())
    site.device.metadata(lambda: site.replica.write(empty))
    logger.info("given_back volume=%s columns=%s", volume.id, volume.leaving)
    return replace(state, volume=empty, given_back=0, used_bytes=data.used_bytes())


def _copy(
    site: leg_state.Site,
    state: leg_state.State,
    order: messages.LegOrder,
    device_failed: Callable[[str], None],
) -> copies.Copy | None:
    """The copy that shall run, started if need be; one that is not wanted any more is ended."""
    wanted, running = order.copy, state.copy
    if running is not None:
        if wanted is not None and running.serves(wanted) and not running.broken:
            running.throttle(wanted.bandwidth)
            return running
        running.close(site.tools.death_limit_s)
    if wanted is None or state.volume is None or state.data is None:
        return None
    if leg_state.needs_allocation(state.volume):
        return None  # thick means that nothing lacks its space once it is in sync
    _check_copy(wanted, state, state.volume)
    job = copy_job.Job(
        order=wanted,
        volume_id=state.volume.id,
        folder=str(site.replica.folder),
        size=state.volume.size,
        unit=state.volume.unit,
        ncols=state.volume.ncols,
        thin=state.volume.thin,
        keep_join=bool(
            state.volume.own
            - replica_store.in_state(state.volume, model.ReplicaState.IN_SYNC)
            - {column.column for column in wanted.columns}
        ),
        request_id=log.request_id(),
        data_tls=site.tools.data_tls,
    )
    logger.info(
        "copy_started volume=%s device=%s generation=%d columns=%s",
        order.volume_id,
        order.device_id,
        wanted.generation,
        ",".join(str(column.column) for column in wanted.columns),
    )
    with fence.shared(site.replica.lock) as lock_fd:
        return copies.Copy(
            job, lock_fd, site.tools.starter, state.data.sync, site.tools.changed, device_failed
        )


def _scrub(
    site: leg_state.Site, state: leg_state.State, order: messages.LegOrder
) -> scrubs.Scrub | None:
    """The scrub that shall run, started if need be; one that is not wanted any more is ended."""
    wanted, running = order.scrub, state.scrub
    if running is not None:
        if wanted is not None and running.serves(wanted) and not running.broken:
            running.throttle(wanted.bandwidth)
            return running
        running.close(site.tools.death_limit_s)
    if wanted is None or state.volume is None:
        return None
    if wanted.generation != state.volume.generation or not state.serving:
        raise errors.StaleOrder(
            what="scrub order of generation", got=wanted.generation, have=state.volume.generation
        )
    volume = state.volume
    job = scrubs.Job(
        order=wanted,
        size=volume.size,
        unit=volume.unit,
        ncols=volume.ncols,
        data_tls=site.tools.data_tls,
    )
    if running is not None and running.report.scrub_id == wanted.scrub_id:
        told = running.report  # more than the MDM knew when it gave the order
        if told.position >= wanted.start:
            wanted = replace(wanted, start=told.position, counts=told.counts)
            job = replace(job, order=wanted, findings=told.findings)
    logger.info("scrub_started volume=%s from=%d", order.volume_id, job.order.start)
    with fence.shared(site.replica.lock) as lock_fd:
        return scrubs.Scrub(job, lock_fd, site.tools.starter, site.tools.changed)


def _check_copy(
    wanted: messages.CopyOrder, state: leg_state.State, volume: replica_store.VolumeFile
) -> None:
    if wanted.generation != volume.generation:
        raise errors.StaleOrder(
            what="copy order of generation", got=wanted.generation, have=volume.generation
        )
    if not state.serving:
        raise errors.Conflict(why="nothing is copied to a replica that is not served")
    syncing = replica_store.in_state(volume, model.ReplicaState.SYNCING)
    if wrong := {column.column for column in wanted.columns} - syncing:
        raise errors.Conflict(why=f"columns {sorted(wrong)} are not syncing here: not overwritten")

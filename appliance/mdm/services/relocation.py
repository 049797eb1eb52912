"""Where replicas have to go elsewhere, and seeing that they do: rebuild, evacuation, rebalance.

``run_once`` is called by a loop. What shall be is in the database (states of SDSs and devices,
since when they are away); the work is derived from it each time, so that a restart of the MDM
loses nothing but a round. The domain plans, ``moves`` and ``upkeep`` carry it out.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping

from sqlalchemy import select

from appliance.common import errors
from appliance.domain import moves as planning
from appliance.domain import policy
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import (
    balancing,
    context,
    move_jobs,
    moves,
    orders,
    policies,
    relocation_view,
    vacating,
)
from appliance.mdm.services.turns import Turns
from appliance.mdm.services.upkeep import Upkeep

logger = logging.getLogger(__name__)

#: Volumes looked at in one round: heartbeats wait meanwhile.
_BATCH = 64

#: A volume whose replica has nowhere to go is planned again after this long, even if nothing that
#: is looked at has changed. Seconds.
_STUCK_AGAIN_S = 30.0


class Relocation:
    """One per MDM. ``run_once`` is not called by two threads."""

    def __init__(self, ctx: context.Context, turns: Turns, upkeep: Upkeep) -> None:
        self._ctx = ctx
        self._turns = turns
        self._upkeep = upkeep
        self._absences = vacating.Absences(ctx)
        self._balancing = balancing.Balancing(ctx)
        #: volumes with nowhere to go: when that was found, and how the devices were then
        self._stuck: dict[str, tuple[float, int]] = {}

    def run_once(self) -> None:
        with self._ctx.uow.read() as tx:
            sites = vacating.look(self._ctx, tx, self._absences)
            uneven = self._balancing.look(tx, sites)
            idle = (
                not uneven
                and not move_jobs.any_work(tx, sites)
                and all((s.away_s is not None) == s.absent_noted for s in sites.values())
            )
        if idle:
            return
        touched: list[str] = []
        try:
            with self._turns.true_if_kept(touched), self._ctx.uow.write("mdm") as tx:
                self._round(tx, uneven, touched)
        except errors.Unavailable as exc:
            logger.warning("relocation_put_off why=%s", exc)

    def _round(
        self, tx: unit_of_work.Tx, uneven: Mapping[str, balancing.Uneven], touched: list[str]
    ) -> None:
        sites = vacating.look(self._ctx, tx, self._absences)
        vacating.note(tx, sites)
        held = relocation_view.held(tx, sites)
        gate = relocation_view.Gate(tx)
        touched += self._review(tx, sites)
        touched += self._begin(tx, sites, held, gate)
        for pool_id, one in uneven.items():
            touched += self._even_out(tx, pool_id, one, sites, gate)
        tx.session.flush()
        move_jobs.account(self._ctx, tx, sites, held)
        self._upkeep.consider_all(tx, touched)

    # --- moves that go on -----------------------------------------------------------------

    def _review(self, tx: unit_of_work.Tx, sites: Mapping[str, vacating.Site]) -> list[str]:
        """Cancel moves that are needless or cannot end; the volumes concerned."""
        moving = set(tx.session.scalars(select(models.Move.volume_id).distinct()))
        changed = []
        for volume in orders.load_volumes(tx, moving):
            for move in volume.moves:
                if self._review_one(tx, volume, move, sites):
                    changed.append(volume.id)
        return changed

    def _review_one(
        self,
        tx: unit_of_work.Tx,
        volume: models.Volume,
        move: models.Move,
        sites: Mapping[str, vacating.Site],
    ) -> bool:
        states = {r.device_id: r.state for r in volume.replicas if r.column == move.column}
        if move.cancelled:
            return False
        if states.get(move.to_device_id) == "in_sync":
            return _take_over(move, states, sites)
        if sites[move.to_device_id].cause is not None:
            moves.cancel(tx, volume, move, "the device that it was to go to is not to be had")
            return True
        old = sites[move.from_device_id]
        needless = old.up and old.cause is None and not move_jobs.wants(tx, move)
        if needless and states.get(move.from_device_id) == "in_sync":
            moves.cancel(tx, volume, move, "the replica that it was to replace is there again")
            return True
        return False

    # --- new moves ------------------------------------------------------------------------

    def _begin(
        self,
        tx: unit_of_work.Tx,
        sites: Mapping[str, vacating.Site],
        held: Iterable[relocation_view.Held],
        gate: relocation_view.Gate,
    ) -> list[str]:
        waiting = self._candidates(sites, held)
        begun: list[str] = []
        stuck: dict[str, list[planning.Stuck]] = defaultdict(list)
        volumes = {volume.id: volume for volume in orders.load_volumes(tx, waiting)}
        promised = relocation_view.promised(tx)
        for pool_id in sorted({volume.pool_id for volume in volumes.values()}):
            own = [volumes[i] for i in waiting if i in volumes and volumes[i].pool_id == pool_id]
            plan = self._plan(tx, pool_id, own, sites, promised)
            for one in plan.stuck:
                stuck[one.volume_id].append(one)
            by_volume: dict[str, list[planning.Move]] = defaultdict(list)
            for move in plan.moves:
                by_volume[move.volume_id].append(move)
            most = _most(tx, pool_id)
            for volume in own:
                if gate.admits(volume, by_volume[volume.id], most):
                    self._begin_volume(tx, volume, by_volume[volume.id], sites)
                    begun.append(volume.id)
        self._tell_stuck(tx, sites, stuck, volumes)
        return begun

    def _candidates(
        self, sites: Mapping[str, vacating.Site], held: Iterable[relocation_view.Held]
    ) -> list[str]:
        """Volumes to plan for now: those that lack a copy first."""
        now, looks = self._ctx.clock.monotonic(), _fingerprint(sites)
        order: dict[str, tuple[bool, str]] = {}
        for one in held:
            cause = sites[one.device_id].cause
            at, then = self._stuck.get(one.volume_id, (float("-inf"), 0))
            if one.moving or (then == looks and now - at < _STUCK_AGAIN_S):
                continue
            rank = (cause is None or cause.kind != "rebuild", one.volume_id)
            order[one.volume_id] = min(rank, order.get(one.volume_id, rank))
        return sorted(order, key=lambda ident: order[ident])[:_BATCH]

    def _plan(
        self,
        tx: unit_of_work.Tx,
        pool_id: str,
        volumes: Iterable[models.Volume],
        sites: Mapping[str, vacating.Site],
        promised: Mapping[str, int],
    ) -> planning.Plan:
        usable = [site for site in sites.values() if site.usable and site.pool_id == pool_id]
        return planning.vacate(
            [relocation_view.volume(row, sites) for row in volumes],
            relocation_view.devices(usable, vacating.rooms(tx, usable, promised)),
            {site.id for site in sites.values() if site.cause is not None},
            {site.id: site.fault_set for site in sites.values()},
        )

    def _begin_volume(
        self,
        tx: unit_of_work.Tx,
        volume: models.Volume,
        planned: Iterable[planning.Move],
        sites: Mapping[str, vacating.Site],
    ) -> None:
        for move in planned:
            cause = sites[move.from_device].cause
            if cause is not None:
                moves.begin(tx, volume, move, move_jobs.of(tx, cause))

    def _even_out(
        self,
        tx: unit_of_work.Tx,
        pool_id: str,
        uneven: balancing.Uneven,
        sites: Mapping[str, vacating.Site],
        gate: relocation_view.Gate,
    ) -> list[str]:
        """Begin what the policy allows of evening a pool out, under its job."""
        pool = tx.session.get(models.Pool, pool_id)
        if pool is None:
            return []
        own = {key: site for key, site in sites.items() if site.pool_id == pool_id}
        job = move_jobs.rebalance(tx, pool, begin=uneven.columns > 0)
        if job is None:
            return []
        begun: list[str] = []
        columns = size = 0
        if not balancing.waits(own):
            rooms = balancing.rooms_of(tx, pool_id, own)
            for volume in orders.load_volumes(tx, uneven.volumes[:_BATCH]):
                planned = balancing.plan(tx, [volume], own, rooms)
                if not gate.admits(volume, planned, _most(tx, pool_id)):
                    continue
                for move in planned:
                    moves.begin(tx, volume, move, job)
                    rooms[move.to_device] -= move.size_bytes
                    columns += 1
                    size += moves.nominal_bytes(volume, move.column)
                begun.append(volume.id)
        tx.session.flush()
        left = max(0, uneven.columns - columns), max(0, uneven.nominal_bytes - size)
        move_jobs.account_rebalance(tx, job, *left, uneven.waits)
        return begun

    def _tell_stuck(
        self,
        tx: unit_of_work.Tx,
        sites: Mapping[str, vacating.Site],
        stuck: Mapping[str, list[planning.Stuck]],
        planned: Mapping[str, models.Volume],
    ) -> None:
        """Say on each volume why it stays as it is; no longer where that is over."""
        now, looks = self._ctx.clock.monotonic(), _fingerprint(sites)
        for ident, volume in planned.items():
            self._stuck.pop(ident, None)
            words = _words(stuck.get(ident, []), sites)
            if words:
                self._stuck[ident] = now, looks
            if volume.stuck != words:
                volume.stuck = words
                if words:
                    tx.event("move_stuck", "volume", volume.id, volume.name, why=words)
                    logger.warning("move_stuck volume=%s why=%s", volume.name, words)
        leaving = {site.id for site in sites.values() if site.cause is not None}
        still = select(models.Replica.volume_id).where(models.Replica.device_id.in_(leaving))
        over = select(models.Volume).where(models.Volume.stuck != "", ~models.Volume.id.in_(still))
        for volume in tx.session.scalars(over):
            volume.stuck = ""
            self._stuck.pop(volume.id, None)


def _most(tx: unit_of_work.Tx, pool_id: str) -> int:
    pool = tx.session.get_one(models.Pool, pool_id)
    return policy.allowance(policies.of(pool), busy=True).copies


def _take_over(
    move: models.Move, states: Mapping[str, str], sites: Mapping[str, vacating.Site]
) -> bool:
    """The new replica is in sync, but meanwhile a third one was lost for good: it goes instead of
    the old one, which is as good as the new one."""
    if states.get(move.from_device_id) != "in_sync":
        return False
    for device_id, state in sorted(states.items()):
        other = device_id not in (move.from_device_id, move.to_device_id)
        if other and state == "stale" and sites[device_id].cause is not None:
            move.from_device_id = device_id
            return True
    return False


def _words(stuck: list[planning.Stuck], sites: Mapping[str, vacating.Site]) -> str:
    if not stuck:
        return ""
    places = ", ".join(sorted({sites[one.from_device].sds_name for one in stuck}))
    columns = "1 column" if len(stuck) == 1 else f"{len(stuck)} columns"
    return f"{columns} of {places} cannot be copied elsewhere: {stuck[0].why}"


def _fingerprint(sites: Mapping[str, vacating.Site]) -> int:
    """Changes when something does that may help a move that has nowhere to go."""
    return hash(
        tuple(
            (site.id, site.usable, site.up, site.cause is not None, site.free_bytes >> 28)
            for site in sites.values()
        )
    )

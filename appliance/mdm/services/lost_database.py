"""A lost database made again from what the devices keep (``appliance.disk``), while no MDM runs.

What devices do not know is gone: pools and domains without a device, tokens that are in no file,
mappings, moves, jobs, events. Agents get their places back when they register
(``registration``); each incarnation that left an intent file ended in doubt (R7).
"""

import contextlib
import json
import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.common import clock as clocks
from appliance.common import errors, units
from appliance.disk import choice, records, survey
from appliance.domain import layout, model
from appliance.mdm.db import engine, migrate, models, unit_of_work
from appliance.mdm.services import backup, cluster, registration, tokens
from appliance.protocol import messages

#: Generations of a recovered volume begin this far above the highest seen: a device that is
#: missing, and went on alone, is behind then, and is made equal when it comes back.
GENERATION_STEP = 1 << 20


@dataclass(frozen=True, slots=True)
class Recovered:
    """``lines`` tell a person what was found and what was not. ``aside``: where the database
    before is kept."""

    aside: Path | None
    lines: tuple[str, ...]


def recover(
    data_dir: Path, folders: Iterable[Path], accept_older: bool, clock: clocks.Clock
) -> Recovered:
    """Make the database in ``data_dir`` from device folders (their small files are enough).

    Raises errors.Conflict while an MDM runs there, and when a newer state may exist elsewhere
    unless ``accept_older``; errors.NotFound, Damaged and Conflict as ``survey.look``. Then
    nothing is changed.
    """
    found = survey.look(folders)
    plans = [_plan(copies) for copies in found.volumes().values()]
    doubts = [*found.damaged, *(doubt for plan in plans for doubt in plan.doubts)]
    if doubts and not accept_older:
        raise errors.Conflict(
            why="what is in these folders may not be the newest:\n  "
            + "\n  ".join(doubts)
            + "\nNothing was changed. Give the folders of the missing devices too, or "
            "--accept-older to go on with what there is"
        )
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with backup.hold(data_dir):
        target, incoming = data_dir / "mdm.db", data_dir / "mdm.db.recovering"
        try:
            _remove(incoming)
            _build(incoming, data_dir, found, plans, clock)
            engine.verify(incoming)
            aside = backup.put_in_place(incoming, target)
        finally:
            _remove(incoming)
    return Recovered(aside, (*_told(found, plans), *(f"warning: {doubt}" for doubt in doubts)))


@dataclass(frozen=True, slots=True)
class _Plan:
    """One volume. ``whole``: every column has a copy."""

    ident: str
    chosen: choice.Choice
    copies: Sequence[survey.Copy]

    @property
    def whole(self) -> bool:
        return not self.chosen.absent

    @property
    def doubts(self) -> list[str]:
        name = self.chosen.newest.volume.name
        return [f"volume {name}: {doubt}" for doubt in self.chosen.doubts]


def _plan(copies: Sequence[survey.Copy]) -> _Plan:
    return _Plan(copies[0].volume.id, choice.choose(copies), copies)


def _build(
    path: Path,
    data_dir: Path,
    found: survey.Survey,
    plans: Sequence[_Plan],
    clock: clocks.Clock,
) -> None:
    opened = engine.connect(engine.url_of(data_dir, f"sqlite:///{path}"), 2)
    try:
        migrate.upgrade(opened)
        uow = unit_of_work.UnitOfWork(opened, clock, lambda _agents: None)
        with uow.write("recovery") as tx:
            tx.session.add(
                models.Cluster(
                    key=1, id=found.cluster_id, term=0, revision=0, created_at=tx.now,
                    recovered_at=tx.now,
                )
            )  # fmt: skip
            tx.event("database_recovered", "cluster", found.cluster_id, cluster.NAME)
            tokens.adopt_files(tx, data_dir)
            _Rows(tx, found, plans).add()
    finally:
        opened.dispose()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    path.chmod(0o600)


class _Rows:
    """Everything but the cluster's own row, in an order that the references allow."""

    def __init__(self, tx: unit_of_work.Tx, found: survey.Survey, plans: Sequence[_Plan]) -> None:
        self._tx = tx
        self._add_all = tx.session.add_all
        self._devices = {device.label.device_id: device for device in found.devices}
        self._plans = [plan for plan in plans if plan.whole]
        self._holders = {
            holder.device_id: holder
            for plan in self._plans
            for holder in plan.chosen.newest.volume.chart.holders
        }
        self._places = [device.place for device in found.devices if device.place is not None]

    def add(self) -> None:
        self._domains()
        self._pools()
        self._sds()
        self._device_rows()
        names: set[str] = set()
        for plan in self._plans:
            self._volume(plan, names)

    def _domains(self) -> None:
        rows = {place.domain_id: place.domain for place in self._places}
        if "default" not in rows.values():
            rows[secrets.token_hex(8)] = "default"
        for ident, name in rows.items():
            self._keep(models.Domain(id=ident, name=name, created_at=self._tx.now))
        sets = {p.fault_set_id: p for p in self._places if p.fault_set_id}
        for ident, place in sets.items():
            self._keep(models.FaultSet(id=ident, domain_id=place.domain_id, name=place.fault_set))

    def _pools(self) -> None:
        for ident, place in {place.pool_id: place for place in self._places}.items():
            self._keep(
                models.Pool(
                    id=ident,
                    domain_id=place.domain_id,
                    name=place.pool,
                    media=place.media,
                    spare_percent=place.spare_percent,
                    warn_percent=place.warn_percent,
                    critical_percent=place.critical_percent,
                    policy=json.loads(place.policy),
                    created_at=self._tx.now,
                )
            )
        known = {place.pool_id for place in self._places}
        for plan in self._plans:
            pool_id = plan.chosen.newest.volume.chart.pool_id
            if pool_id not in known:
                raise errors.Conflict(
                    why=f"no device in these folders says what pool {pool_id} of volume "
                    f"{plan.chosen.newest.volume.name} is; give one of that pool"
                )

    def _sds(self) -> None:
        """Those whose devices are here, and those that only other devices tell of."""
        placed: dict[str, messages.Place | None] = {}
        for device in self._devices.values():
            placed[device.label.sds_id] = device.place or placed.get(device.label.sds_id)
        names = {holder.sds_id: holder.sds for holder in self._holders.values()}
        for ident in sorted(placed.keys() | names.keys()):
            place = placed.get(ident)
            self._keep(
                models.Sds(
                    id=ident,
                    name=place.sds if place is not None else names.get(ident, ident),
                    domain_id=place.domain_id if place is not None else self._domain_of(ident),
                    fault_set_id=(place.fault_set_id or None) if place is not None else None,
                    state="normal",
                    hosts=[],
                    control_port=0,
                    secret_hash=registration.UNCLAIMED,
                    created_at=self._tx.now,
                )
            )

    def _domain_of(self, sds_id: str) -> str:
        """An SDS none of whose devices is here lies where the volumes it holds lie."""
        held = {d for d, holder in self._holders.items() if holder.sds_id == sds_id}
        return self._pool_of(held).domain_id

    def _pool_of(self, device_ids: Iterable[str]) -> messages.Place:
        wanted = set(device_ids)
        for plan in self._plans:
            chart = plan.chosen.newest.volume.chart
            if wanted & {r.device_id for column in chart.columns for r in column}:
                return next(p for p in self._places if p.pool_id == chart.pool_id)
        if not self._places:
            raise errors.Conflict(why=f"no device here has a {records.PLACE}; give another device")
        return self._places[0]

    def _device_rows(self) -> None:
        for ident in sorted(self._devices.keys() | self._holders.keys()):
            device = self._devices.get(ident)
            place = device.place if device is not None else None
            pool = place or self._pool_of({ident})
            sds_id = device.label.sds_id if device is not None else self._holders[ident].sds_id
            self._keep(
                models.Device(
                    id=ident,
                    sds_id=sds_id,
                    pool_id=pool.pool_id,
                    # Its SDS says where it is; until then it must only be unlike all others.
                    path=place.path if place is not None else f"/not/heard/of/{ident}",
                    media=pool.media,
                    state="missing",
                    reason="not heard of since the MDM's database was recovered",
                    limit_bytes=place.limit_bytes if place is not None else 0,
                    created_at=self._tx.now,
                )
            )

    def _volume(self, plan: _Plan, names: set[str]) -> None:
        newest = plan.chosen.newest.volume
        size = max(copy.volume.size for copy in plan.copies)
        version = max(copy.volume.chart.map_version for copy in plan.copies)
        name = newest.name.partition("~")[0]
        name = name if name not in names else f"{name}-{plan.ident}"
        names.add(name)
        self._keep(
            models.Volume(
                id=plan.ident,
                name=name,
                pool_id=newest.chart.pool_id,
                size=size,
                thin=newest.thin,
                shareable=newest.chart.shareable,
                ncols=newest.ncols,
                unit=newest.unit,
                wait_limit_s=newest.chart.wait_limit_s,
                state="ready" if newest.thin else "allocating",
                generation=plan.chosen.generation + GENERATION_STEP,
                map_version=version + GENERATION_STEP,
                # Everyone there is sealed anew, so that no server of the lost MDM's time serves;
                # but not before those with the truth are there.
                turn_open=True,
                unproved=True,
                created_at=self._tx.now,
            )
        )
        self._replicas(plan, size)
        incarnations = {i for copy in plan.copies for i in copy.marks if records.is_id(i)}
        self._add_all(
            models.Incarnation(
                id=ident, volume_id=plan.ident, mapping_id="", sdc_id="", state="doubt",
                lock_token="", created_at=self._tx.now,
            )
            for ident in sorted(incarnations)
        )  # fmt: skip
        self._tx.event("volume_recovered", "volume", plan.ident, name)

    def _replicas(self, plan: _Plan, size: int) -> None:
        newest = plan.chosen.newest.volume
        own: dict[str, set[int]] = {}
        for column in plan.chosen.columns:
            right = [copy.device_id for copy in column.right]
            known = [replica.device_id for replica in newest.chart.columns[column.index]]
            for slot, device_id in enumerate(self._two_of(known, right)):
                own.setdefault(device_id, set()).add(column.index)
                in_sync = device_id in right
                state = model.ReplicaState.IN_SYNC if in_sync else model.ReplicaState.STALE
                self._tx.session.add(
                    models.Replica(
                        volume_id=plan.ident, column=column.index, slot=slot,
                        device_id=device_id, state=state.value, full_copy=not in_sync,
                    )
                )  # fmt: skip
        everywhere = {copy.device_id for copy in plan.copies} | own.keys()
        for device_id in sorted(everywhere):
            columns = frozenset(own.get(device_id, ()))
            here = layout.own_bytes(columns, newest.ncols, size, newest.unit)
            self._tx.session.add(
                models.VolumeLeg(
                    volume_id=plan.ident,
                    device_id=device_id,
                    reserved_bytes=0 if newest.thin else here,
                    deleting=not columns,
                    revision=1,
                )
            )

    def _two_of(self, known: Sequence[str], right: Sequence[str]) -> list[str]:
        """The devices that keep a column. One that was moving has a third, and the move is lost:
        those with the truth stay, in two fault sets if they can."""
        if len(known) <= model.REPLICAS:
            return list(known)
        best = sorted(known, key=lambda device_id: device_id not in right)
        first, *others = best
        others.sort(key=lambda d: (self._fault_set(d) == self._fault_set(first), d not in right))
        kept = {first, *others[: model.REPLICAS - 1]}
        return [device_id for device_id in known if device_id in kept]

    def _fault_set(self, device_id: str) -> str:
        device = self._devices.get(device_id)
        if device is None:
            return self._holders[device_id].sds_id
        place = device.place
        return (place.fault_set_id if place is not None else "") or device.label.sds_id

    def _keep(self, row: models.Base) -> None:
        self._tx.session.add(row)
        self._tx.session.flush()


def _told(found: survey.Survey, plans: Sequence[_Plan]) -> list[str]:
    lines = [
        f"cluster {found.cluster_id}: {len(found.devices)} devices, "
        f"{sum(plan.whole for plan in plans)} volumes"
    ]
    for plan in plans:
        newest = plan.chosen.newest.volume
        if not plan.whole:
            lines.append(f"volume {newest.name}: left out, for a column has no copy here")
            continue
        stale = sum(max(0, model.REPLICAS - len(column.right)) for column in plan.chosen.columns)
        lines.append(
            f"volume {newest.name}: {units.format_size(newest.size)}, generation "
            f"{plan.chosen.generation}, {stale} of {2 * newest.ncols} copies to be made again"
        )
    return lines


def _remove(path: Path) -> None:
    for file in (path, *(Path(f"{path}{suffix}") for suffix in ("-wal", "-shm", "-journal"))):
        file.unlink(missing_ok=True)

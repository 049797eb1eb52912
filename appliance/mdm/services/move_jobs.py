"""The jobs that moves are parts of: one for each rebuild, evacuation or removal, with the sum over
its columns. Called by ``relocation`` within its transactions."""

from collections import Counter
from collections.abc import Iterable, Mapping

from sqlalchemy import exists, func, select

from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import balancing, context, jobs, relocation_view, vacating, withdrawal

#: Kinds of jobs that are done by moves of replicas.
KINDS = ("rebuild", "evacuate", "device_remove", "sds_remove")


def any_work(tx: unit_of_work.Tx, sites: Mapping[str, vacating.Site]) -> bool:
    """Whether there is anything to begin, to watch or to end."""
    leaving = [site.id for site in sites.values() if site.cause is not None]
    job = models.Job
    running = select(job.id).where(job.state == "running", job.kind.in_(KINDS))
    held = select(models.Replica.device_id).where(models.Replica.device_id.in_(leaving))
    stuck = select(models.Volume.id).where(models.Volume.stuck != "")
    return any(
        tx.session.scalar(select(exists(query)))
        for query in (running, select(models.Move.volume_id), held, stuck)
    )


def of(tx: unit_of_work.Tx, cause: vacating.Cause) -> models.Job:
    """The running job of a cause, begun if there is none."""
    found = _running(tx).get(cause)
    if found is None:
        found = jobs.start(tx, cause.kind, cause.subject_kind, cause.subject_id, cause.subject_name)
        tx.event(f"{cause.kind}_began", cause.subject_kind, cause.subject_id, cause.subject_name)
        tx.session.flush()
    return found


def wants(tx: unit_of_work.Tx, move: models.Move) -> bool:
    """Whether the move's job wants it though its old device may keep it."""
    job = tx.session.get_one(models.Job, move.job_id)
    return job.kind == balancing.KIND and job.state == "running"


def rebalance(tx: unit_of_work.Tx, pool: models.Pool, begin: bool) -> models.Job | None:
    """The pool's running rebalance; with ``begin`` it is begun if there is none."""
    ident = jobs.running(tx, balancing.KIND, pool.id)
    if ident is not None:
        return tx.session.get_one(models.Job, ident)
    return balancing.start(tx, pool) if begin else None


def account_rebalance(
    tx: unit_of_work.Tx, job: models.Job, columns: int, left_bytes: int, waits: str
) -> None:
    """How far it is, with so much yet to begin; it ends when nothing has to move any more."""
    own = list(tx.session.scalars(select(models.Move).where(models.Move.job_id == job.id)))
    if own or columns or waits:
        _note(tx, job, own, left_bytes, columns, waits)
    else:
        jobs.end(tx, job, "done")


def account(
    ctx: context.Context,
    tx: unit_of_work.Tx,
    sites: Mapping[str, vacating.Site],
    held: Iterable[relocation_view.Held],
) -> None:
    """How far each job is; those with nothing left to do end."""
    moving = list(tx.session.scalars(select(models.Move)))
    for move in moving:
        cause = sites[move.from_device_id].cause
        if cause is not None:
            move.job_id = of(tx, cause).id  # it may have begun for another reason
    left: Counter[vacating.Cause] = Counter()
    columns: Counter[vacating.Cause] = Counter()
    begun = {(move.volume_id, move.column, move.from_device_id) for move in moving}
    for one in held:
        cause = sites[one.device_id].cause
        if cause is not None and (one.volume_id, one.column, one.device_id) not in begun:
            left[cause] += one.nominal_bytes
            columns[cause] += 1
    causes = vacating.wishes(tx)
    causes |= {site.cause for site in sites.values() if site.cause is not None}
    for cause in columns:
        of(tx, cause)
    for cause, job in _running(tx).items():
        own = [move for move in moving if move.job_id == job.id]
        if own or columns[cause]:
            _note(tx, job, own, left[cause], columns[cause])
        elif cause not in causes and _known(cause, sites):
            why = f"{cause.subject_name} is there again" if cause.kind == "rebuild" else ""
            jobs.end(tx, job, "cancelled", why)
        elif cause in causes and cause.kind in ("rebuild", "evacuate"):
            jobs.end(tx, job, "done")
        elif cause in causes:
            withdrawal.end(ctx, tx, job)


def _known(cause: vacating.Cause, sites: Mapping[str, vacating.Site]) -> bool:
    """Whether it can be said how the devices of ``cause`` are; after a start it cannot at once."""
    return all(site.known for site in sites.values() if cause.subject_id in (site.id, site.sds_id))


def _note(
    tx: unit_of_work.Tx,
    job: models.Job,
    own: list[models.Move],
    left_bytes: int,
    columns: int,
    waits: str = "",
) -> None:
    good = [move for move in own if not move.cancelled]
    done = job.moved_bytes + sum(move.done_bytes for move in good)
    total = job.moved_bytes + sum(move.total_bytes for move in good) + left_bytes
    detail = waits or f"{len(good)} columns on their way, {columns} wait"
    if columns and not good and not waits and job.kind != balancing.KIND:
        stuck = select(func.min(models.Volume.stuck)).where(models.Volume.stuck != "")
        detail = tx.session.scalar(stuck) or detail
    jobs.note(tx, job, done, total, detail)


def _running(tx: unit_of_work.Tx) -> dict[vacating.Cause, models.Job]:
    query = select(models.Job).where(models.Job.state == "running", models.Job.kind.in_(KINDS))
    return {
        vacating.Cause(job.kind, job.subject_kind, job.subject_id, job.subject_name): job
        for job in tx.session.scalars(query)
    }

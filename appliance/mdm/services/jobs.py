"""Long work with progress, for people to watch. Written by whoever does the work, in its own
transactions; read over REST."""

import secrets
from typing import Any

from sqlalchemy import func, select, tuple_

from appliance.common import errors, log
from appliance.mdm import bodies, shapes
from appliance.mdm.db import models, unit_of_work
from appliance.mdm.services import context, refs

#: A job's rate is measured anew this often. Seconds.
RATE_S = 5.0


def start(
    tx: unit_of_work.Tx, kind: str, subject_kind: str, ident: str, name: str, total_bytes: int = 0
) -> models.Job:
    """A running job. ``total_bytes`` 0: its progress cannot be measured."""
    job = models.Job(
        id=secrets.token_hex(8),
        kind=kind,
        subject_kind=subject_kind,
        subject_id=ident,
        subject_name=name,
        state="running",
        done_bytes=0,
        total_bytes=total_bytes,
        moved_bytes=0,
        rate=0.0,
        rate_at=0.0,
        rate_bytes=0,
        detail="",
        request_id=log.request_id(),
        started_at=tx.now,
        updated_at=tx.now,
        finished_at=None,
    )
    tx.session.add(job)
    return job


def running(tx: unit_of_work.Tx, kind: str, subject_id: str) -> str | None:
    """Id of the running job of that kind on that subject."""
    job = _running(tx, kind, subject_id)
    return None if job is None else job.id


def progress(
    tx: unit_of_work.Tx,
    kind: str,
    subject_id: str,
    done_bytes: int,
    detail: str = "",
    total_bytes: int | None = None,
) -> None:
    """Note how far the running job is; nothing happens if there is none."""
    job = _running(tx, kind, subject_id)
    if job is not None:
        note(tx, job, done_bytes, job.total_bytes if total_bytes is None else total_bytes, detail)


def note(
    tx: unit_of_work.Tx, job: models.Job, done_bytes: int, total_bytes: int, detail: str
) -> None:
    """How far a job is, and at what rate that came about."""
    done = min(done_bytes, total_bytes) if total_bytes else done_bytes
    spent_s = tx.now - job.rate_at
    if not job.rate_at or spent_s < 0 or done < job.rate_bytes:
        job.rate_at, job.rate_bytes, job.rate = tx.now, done, 0.0
    elif spent_s >= RATE_S or (not job.rate and spent_s >= 1.0):
        job.rate = (done - job.rate_bytes) / spent_s
        job.rate_at, job.rate_bytes = tx.now, done
    if (job.done_bytes, job.total_bytes, job.detail) != (done, total_bytes, detail):
        job.done_bytes, job.total_bytes, job.detail = done, total_bytes, detail
        job.updated_at = tx.now


def finish(tx: unit_of_work.Tx, kind: str, subject_id: str, error: str = "") -> None:
    """End the running job, well if ``error`` is empty; nothing happens if there is none."""
    job = _running(tx, kind, subject_id)
    if job is not None:
        end(tx, job, "failed" if error else "done", error)


def end(tx: unit_of_work.Tx, job: models.Job, state: str, why: str = "") -> None:
    """``state``: done, failed or cancelled."""
    job.state, job.detail = state, why
    job.rate = 0.0
    if state == "done":
        job.done_bytes = job.total_bytes
    job.updated_at = job.finished_at = tx.now
    tx.event(f"{job.kind}_{state}", job.subject_kind, job.subject_id, job.subject_name, why=why)


def get(ctx: context.Context, ident: str) -> shapes.Job:
    with ctx.uow.read() as tx:
        return view(refs.find(tx, models.Job, ident))


def list_page(ctx: context.Context, page: bodies.JobPage) -> dict[str, Any]:
    """Newest first."""
    query = select(models.Job)
    if page.state is not None:
        query = query.where(models.Job.state == page.state)
    if page.after is not None:
        started, _, ident = page.after.rpartition("~")
        query = query.where(tuple_(models.Job.started_at, models.Job.id) < (_time(started), ident))
    query = query.order_by(models.Job.started_at.desc(), models.Job.id.desc())
    with ctx.uow.read() as tx:
        rows = [view(row) for row in tx.session.scalars(query.limit(page.limit + 1))]
    if len(rows) <= page.limit:
        return {"items": rows, "next": None}
    last = rows[page.limit - 1]
    return {"items": rows[: page.limit], "next": f"{last['started_at']!r}~{last['id']}"}


def count_running(tx: unit_of_work.Tx) -> int:
    query = select(func.count()).select_from(models.Job).where(models.Job.state == "running")
    return tx.session.scalar(query) or 0


def view(job: models.Job) -> shapes.Job:
    percent = round(100 * job.done_bytes / job.total_bytes, 1) if job.total_bytes else None
    rate = job.rate if job.state == "running" else 0.0
    left_s = (job.total_bytes - job.done_bytes) / rate if rate else None
    return {
        "id": job.id,
        "kind": job.kind,
        "subject_kind": job.subject_kind,
        "subject_id": job.subject_id,
        "subject": job.subject_name,
        "state": job.state,
        "done_bytes": job.done_bytes,
        "total_bytes": job.total_bytes,
        "percent": 100.0 if job.state == "done" else percent,
        "rate_bytes_s": round(rate),
        "left_s": None if left_s is None or not job.total_bytes else round(left_s, 1),
        "detail": job.detail,
        "request_id": job.request_id,
        "started_at": job.started_at,
        "updated_at": job.updated_at,
        "finished_at": job.finished_at,
    }


def _running(tx: unit_of_work.Tx, kind: str, subject_id: str) -> models.Job | None:
    query = select(models.Job).where(
        models.Job.subject_id == subject_id,
        models.Job.kind == kind,
        models.Job.state == "running",
    )
    return tx.session.scalars(query).first()


def _time(text: str) -> float:
    try:
        return float(text)
    except ValueError as exc:
        raise errors.Invalid(what="after", why="give the 'next' of the page before") from exc

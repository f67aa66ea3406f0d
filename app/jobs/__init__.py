"""Scheduled work: the SCHEDULE table, and `run_job`, which runs one slot of one job wherever it is asked to.

APScheduler only triggers. Every body first takes its (job, slot) row, so two schedulers by mistake do a slot once.
"""

from __future__ import annotations

import math
import traceback
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.blocking import BlockingScheduler
from flask import Flask
from sqlalchemy import func, select, union_all, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.errors import Refused
from app.jobs import dispatch, housekeeping, notices, sync, tasks, tokens
from app.models import JobRun
from app.models.base import utcnow
from app.operations import inbound
from app.redaction import redact
from app.tenancy import PLATFORM, app_scope

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Job:
    """One scheduled job: its Chinese title, the seconds between slots, and `body(app) -> sentence`."""

    title: str
    seconds: int
    body: Callable[[Flask], str]


SCHEDULE: dict[str, Job] = {
    "sync_audits": Job("查询审核结果", 10, sync.audits),
    "process_events": Job("处理推送事件", 5, sync.events),
    "refresh_tokens": Job("刷新凭据", 60, tokens.refresh),
    "sync_templates": Job("同步模板", 600, sync.templates),
    "sync_versions": Job("核对版本", 1800, sync.versions),
    "sync_info": Job("同步基本信息与授权", 3600, sync.info),
    "fetch_icons": Job("获取小程序头像", 60, sync.icons),
    "notices": Job("检查通知", 60, notices.check),
    "send_notices": Job("发送通知", 10, notices.send),
    "run_tasks": Job("后台任务", 5, tasks.run_due),
    "housekeeping": Job("清理过期数据", 3600, housekeeping.clean),
}
# Kept in the module: a scheduler held only by a local name was garbage-collected, and others took over.
_running: list[BackgroundScheduler] = []


def find(job_id: str) -> Job:
    """A job by id; Refused when there is none."""
    if job_id not in SCHEDULE:
        raise Refused(f"没有名为「{job_id}」的任务；可选：{'、'.join(SCHEDULE)}")
    return SCHEDULE[job_id]


def slot_of(job: Job, at: datetime) -> str:
    """The name of the slot a moment belongs to: the same in every process."""
    return str(math.floor(at.timestamp() / job.seconds) * job.seconds)


def run_job(app: Flask, job_id: str, *, slot: str | None = None, actor: str = "") -> JobRun | None:
    """Run one slot; None when another process has it. Never raises: a fault is the run's outcome."""
    job = find(job_id)
    run_id = _take_slot(app, job_id, slot or slot_of(job, utcnow()), actor)
    if run_id is None:
        return None
    try:
        result = job.body(app)
        outcome = "partly" if isinstance(result, sync.Partly) else "ok"
    except Exception as fault:  # noqa: BLE001  (the job runner's boundary: the next slot must still run)
        log.warning("job_failed", job=job_id, trace=redact(traceback.format_exc()))
        outcome, result = "failed", redact(f"{type(fault).__name__}: {fault}")
    with app_scope(app, PLATFORM) as session:
        done = update(JobRun).where(JobRun.id == run_id)
        session.execute(done.values(finished_at=utcnow(), outcome=outcome, result=result[:2000]))
        session.commit()
        return session.get(JobRun, run_id)


def _take_slot(app: Flask, job_id: str, slot: str, actor: str) -> int | None:
    with app_scope(app, PLATFORM) as session:
        row = JobRun(job=job_id, slot=slot, actor_name=actor, started_at=utcnow())
        session.add(row)
        try:
            session.commit()
        except IntegrityError:
            session.rollback()
            return None
        return row.id


def run_now(app: Flask, job_id: str, actor: str) -> JobRun | None:
    """Run a job at once, by a person's wish."""
    return run_job(app, job_id, slot=f"now-{uuid.uuid4().hex[:12]}", actor=actor)


def last_runs(session: Session) -> dict[str, JobRun]:
    """The newest run of every job, by job id: one look into the index for each, however many runs are kept."""
    newest = union_all(*(select(func.max(JobRun.id)).where(JobRun.job == job_id) for job_id in SCHEDULE))
    keys = list(session.scalars(newest))  # apart: MariaDB would try a union inside IN on every row
    return {run.job: run for run in session.scalars(select(JobRun).where(JobRun.id.in_(keys)))}


def history(session: Session, job_ids: Iterable[str], limit: int) -> dict[str, list[JobRun]]:
    """The latest runs of some jobs, newest first."""
    latest = [
        select(JobRun.id).where(JobRun.job == job_id).order_by(JobRun.id.desc()).limit(limit).subquery()
        for job_id in job_ids
    ]
    keys = list(session.scalars(union_all(*(select(part.c.id) for part in latest))))
    found: dict[str, list[JobRun]] = {}
    for run in session.scalars(select(JobRun).where(JobRun.id.in_(keys)).order_by(JobRun.id.desc())):
        found.setdefault(run.job, []).append(run)
    return found


def next_slot(job: Job, now: datetime) -> datetime:
    """When the job's next slot begins, UTC."""
    return now + timedelta(seconds=job.seconds - now.timestamp() % job.seconds)


def _fill(scheduler: BackgroundScheduler | BlockingScheduler, app: Flask) -> None:
    for job_id, job in SCHEDULE.items():
        scheduler.add_job(
            run_job, "interval", args=(app, job_id), seconds=job.seconds, id=job_id, coalesce=True, max_instances=1,
            next_run_time=datetime.now(scheduler.timezone) + timedelta(seconds=1), misfire_grace_time=job.seconds,
        )  # fmt: skip


def run_scheduler(app: Flask) -> None:
    """The production scheduler process: blocks until it is stopped."""
    scheduler = BlockingScheduler(timezone="UTC")
    _fill(scheduler, app)
    scheduler.start()


def start_embedded(app: Flask) -> Callable[[], None]:
    """Scheduler and workers inside this process (demo, small installations); gives the function that stops them."""
    dispatcher = dispatch.Dispatcher(app)
    dispatcher.start()
    scheduler = BackgroundScheduler(timezone="UTC")
    _fill(scheduler, app)
    app.extensions.setdefault("inbound_wakers", []).append(lambda: _soon(scheduler, app))
    app.extensions["task_wakers"].append(lambda: _tasks_soon(scheduler, app))
    scheduler.start()
    _running.append(scheduler)

    def stop() -> None:
        scheduler.shutdown(wait=True)  # a job cut off by the end of the process would log a fault
        tasks.pool_of(app).stop()
        dispatcher.stop()

    return stop


def _soon(scheduler: BackgroundScheduler, app: Flask) -> None:
    """A push came in: work it off at once, besides the job's slots (the events' own leases keep it single)."""
    scheduler.add_job(
        inbound.process_due, args=(app, 500), id="events_woken", replace_existing=True, coalesce=True,
        next_run_time=datetime.now(scheduler.timezone) + timedelta(seconds=0.1),
    )  # fmt: skip


def _tasks_soon(scheduler: BackgroundScheduler, app: Flask) -> None:
    """A task was put into the queue: begin it at once (its claim keeps it single)."""
    scheduler.add_job(
        tasks.run_due, args=(app,), id="tasks_woken", replace_existing=True, coalesce=True,
        next_run_time=datetime.now(scheduler.timezone) + timedelta(seconds=0.1),
    )  # fmt: skip


def init_app(app: Flask) -> None:
    """The lists by which others wake the workers of this process."""
    app.extensions.setdefault("operation_wakers", [])
    app.extensions.setdefault("inbound_wakers", [])
    app.extensions.setdefault("task_wakers", [])


__all__ = [
    "SCHEDULE",
    "Job",
    "history",
    "last_runs",
    "next_slot",
    "run_job",
    "run_now",
    "run_scheduler",
    "start_embedded",
]

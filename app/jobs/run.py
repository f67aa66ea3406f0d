"""Running jobs: one at a time by its slot, in the scheduler's process or within the web server's."""

from __future__ import annotations

import traceback
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.blocking import BlockingScheduler
from flask import Flask
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from app.data.clock import utcnow
from app.data.tenancy import PLATFORM, app_scope
from app.errors import DouzhouError, failure_words
from app.i18n.sentence import Foreign, changed, cut, say
from app.jobs import dispatch, sync
from app.jobs.schedule import SCHEDULE, find, slot_of
from app.kept import kept_of
from app.models import JobRun
from app.operations.inbound import process
from app.redaction import redact
from app.tasks import pool

log = structlog.get_logger(__name__)


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
        outcome, result = "failed", _fault_words(fault)
    with app_scope(app, PLATFORM) as session:
        done = update(JobRun).where(JobRun.id == run_id)
        session.execute(done.values(finished_at=utcnow(), outcome=outcome, result=cut(result, 2000)))
        session.commit()
        return session.get(JobRun, run_id)


def _fault_words(fault: Exception) -> str:
    """What a fault says: a sentence of ours stays one, any other text is a program's or Douyin's."""
    text = failure_words(fault) if isinstance(fault, DouzhouError) else Foreign(str(fault))
    return changed(say("{kind}: {text}", kind=type(fault).__name__, text=text), redact)


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


def _fill(scheduler: BackgroundScheduler | BlockingScheduler, app: Flask) -> None:
    for job_id, job in SCHEDULE.items():
        scheduler.add_job(
            run_job,
            "interval",
            args=(app, job_id),
            seconds=job.seconds,
            id=job_id,
            coalesce=True,
            max_instances=1,
            next_run_time=datetime.now(scheduler.timezone) + timedelta(seconds=1),
            misfire_grace_time=job.seconds,
        )


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
    wakers = {"inbound_wakers": lambda: _soon(scheduler, app), "task_wakers": lambda: _tasks_soon(scheduler, app)}
    for name, waker in wakers.items():
        app.extensions[name].append(waker)
    scheduler.start()
    # A scheduler held only by a local name was garbage-collected, and others took over.
    schedulers = kept_of(app).one("schedulers", list[BackgroundScheduler])
    schedulers.append(scheduler)

    def stop() -> None:
        for name, waker in wakers.items():
            app.extensions[name].remove(waker)
        schedulers.remove(scheduler)
        scheduler.shutdown(wait=True)  # a job cut off by the end of the process would log a fault
        pool.pool_of(app).stop()
        dispatcher.stop()

    return stop


def _soon(scheduler: BackgroundScheduler, app: Flask) -> None:
    """A push came in: work it off at once, besides the job's slots (the events' own leases keep it single)."""
    scheduler.add_job(
        process.process_due,
        args=(app, 500),
        id="events_woken",
        replace_existing=True,
        coalesce=True,
        next_run_time=datetime.now(scheduler.timezone) + timedelta(seconds=0.1),
    )


def _tasks_soon(scheduler: BackgroundScheduler, app: Flask) -> None:
    """A task was put into the queue: begin it at once (its claim keeps it single)."""
    scheduler.add_job(
        pool.run_due,
        args=(app,),
        id="tasks_woken",
        replace_existing=True,
        coalesce=True,
        next_run_time=datetime.now(scheduler.timezone) + timedelta(seconds=0.1),
    )


def init_app(app: Flask) -> None:
    """The lists by which others wake the workers of this process."""
    app.extensions.setdefault("operation_wakers", [])
    app.extensions.setdefault("inbound_wakers", [])
    app.extensions.setdefault("task_wakers", [])

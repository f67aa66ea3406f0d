"""What runs when (SCHEDULE), and what became of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import Flask
from sqlalchemy import func, select, union_all
from sqlalchemy.orm import Session

from app.errors import Refused
from app.i18n.sentence import say
from app.jobs import housekeeping, names, notices, sync, tokens
from app.models import JobRun
from app.tasks import pool


@dataclass(frozen=True)
class Job:
    """One scheduled job: its Chinese title, the seconds between slots, and `body(app) -> sentence`."""

    title: str
    seconds: int
    body: Callable[[Flask], str]


def _check_notices(app: Flask) -> str:
    return notices.check(app, {name: job.title for name, job in SCHEDULE.items()})


SCHEDULE: dict[str, Job] = {
    "sync_audits": Job("查询审核结果", 10, sync.audits),
    "process_events": Job("处理推送事件", 5, sync.events),
    "refresh_tokens": Job("刷新凭据", 60, tokens.refresh),
    "sync_templates": Job("同步模板", 600, sync.templates),
    "sync_versions": Job("核对版本", 1800, sync.versions),
    "sync_info": Job("同步基本信息与授权", 3600, sync.info),
    "fetch_icons": Job("获取小程序头像", 60, sync.icons),
    "notices": Job("检查通知", 60, _check_notices),
    "send_notices": Job("发送通知", 10, notices.send),
    "run_tasks": Job("后台任务", 5, pool.run_due),
    "fold_names": Job("统一名称写法", 3600, names.fold),
    "housekeeping": Job("清理过期数据", 3600, housekeeping.clean),
}


def find(job_id: str) -> Job:
    """A job by id; Refused when there is none."""
    if job_id not in SCHEDULE:
        raise Refused(say("没有名为「{job_id}」的任务；可选：{jobs}", job_id=job_id, jobs=list(SCHEDULE)))
    return SCHEDULE[job_id]


def slot_of(job: Job, at: datetime) -> str:
    """The name of the slot a moment belongs to: the same in every process."""
    return str(math.floor(at.timestamp() / job.seconds) * job.seconds)


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

"""Looking for states that nobody announces: late tickets, stuck audits, lapsing authorisations, failing jobs.

Each is told once for each time it comes about: the name of the news holds when it began.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import Flask
from sqlalchemy import ColumnElement, Select, exists, func, select

from app.data.clock import SHANGHAI, utcnow
from app.data.engine import reading
from app.data.tenancy import PLATFORM, app_scope
from app.data.types import words_of
from app.i18n.sentence import ours, say
from app.models import AuthorizationState, JobRun, MiniProgram, Notification, OperationRun, RunState, ThirdPartyApp
from app.notices.tell import tell
from app.operations import fleet
from app.operations.registry import OPERATIONS

MOST = 200  # pieces of news of one kind a look; the next look goes on
UNCLAIMED_AFTER = timedelta(minutes=2)  # the merchant's browser may be on its way back
UNKNOWN_AFTER = timedelta(minutes=5)  # most outcomes are found out by then
News = dict[str, Any]  # what `tell` is given besides kind and subject


@dataclass(frozen=True)
class Look:
    """One state: which rows are in it and were not told of (their numbers), and what is said of such a row."""

    kind: str
    model: type[Any]
    find: Callable[[Flask], Select[int]]
    news: Callable[[Flask, Any], News]


def look(app: Flask, titles: Mapping[str, str]) -> int:
    """Tell what is found, each row in a transaction of its own; gives how many. `titles`: the jobs', by their id."""
    told = 0
    for one in LOOKS:
        with app_scope(app, PLATFORM) as session, reading():
            ids = list(session.scalars(one.find(app).limit(MOST)))
        told += sum(_tell(app, one, row_id) for row_id in ids)
    return told + sum(_tell_job(app, job, title) for job, title in titles.items())


def _tell(app: Flask, one: Look, row_id: int) -> int:
    with app_scope(app, PLATFORM) as session:
        row = session.get(one.model, row_id)
        told = 0 if row is None else tell(session, one.kind, subject=row, **one.news(app, row))
        session.commit()
        return told


def _stamp(moment: datetime | None) -> str:
    return f"{moment.timestamp():.0f}" if moment is not None else "never"


def _day(moment: datetime | None) -> str:
    return moment.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M") if moment is not None else ""


def _untold(kind: str, condition: ColumnElement[bool], since: Any) -> Select[int]:
    """Mini-programs of which nobody has been told since it began."""
    known = exists().where(
        Notification.kind == kind, Notification.subject_id == MiniProgram.id, Notification.at >= since
    )
    return select(MiniProgram.id).where(condition, ~known).order_by(MiniProgram.id)


# 审核超时


def _find_stuck(app: Flask) -> Select[int]:
    after = timedelta(hours=float(app.config["AUDIT_STUCK_HOURS"]))
    return _untold("audit_stuck", fleet.stuck(after), MiniProgram.audit_since)


def _stuck_news(app: Flask, row: MiniProgram) -> News:
    hours = float(app.config["AUDIT_STUCK_HOURS"])
    return {
        "dedup": f"{row.id}:{_stamp(row.audit_since)}",
        "title": say("「{name}」的版本 {version} 审核超时", name=str(row), version=row.audit_version),
        "body": f"{_day(row.audit_since)} 提交审核，超过 {hours:.0f} 小时没有结果。请在抖音开放平台查看。",
    }


# 授权即将到期


def _find_lapsing(_app: Flask) -> Select[int]:
    since = utcnow() - fleet.LAPSING - timedelta(days=1)
    return _untold("authorization_lapsing", fleet.claimed() & fleet.lapsing(), since)


def _lapsing_news(_app: Flask, row: MiniProgram) -> News:
    until = _day(row.refresh_expires_at)
    return {
        "dedup": f"{row.id}:{_stamp(row.refresh_expires_at)}",
        "title": say("「{name}」的授权即将到期", name=str(row)),
        "body": f"授权在 {until} 到期。系统会自动续期；如果一直没有续上，请让商户重新授权。",
    }


# 缺少必要权限


def _find_lacking(_app: Flask) -> Select[int]:
    return _untold("permissions_lacking", fleet.claimed() & fleet.lacking(), MiniProgram.authorized_at)


def _lacking_news(_app: Flask, row: MiniProgram) -> News:
    return {
        "dedup": f"{row.id}:{_stamp(row.authorized_at)}",
        "title": say("「{name}」缺少必要权限", name=str(row)),
        "body": f"缺少：{'、'.join(row.missing_permissions)}。没有这些权限不能上线，请让商户重新授权并勾选。",
    }


# 待认领小程序


def _find_unclaimed(_app: Flask) -> Select[int]:
    waits = MiniProgram.merchant_id.is_(None) & (MiniProgram.state == AuthorizationState.AUTHORIZED)
    settled = MiniProgram.authorized_at < utcnow() - UNCLAIMED_AFTER
    return _untold("unclaimed", waits & settled, MiniProgram.authorized_at)


def _unclaimed_news(_app: Flask, row: MiniProgram) -> News:
    return {
        "dedup": f"{row.id}:{_stamp(row.authorized_at)}",
        "title": say("「{name}」等待认领", name=str(row)),
        "body": "商户完成了授权，但不知道属于哪个商户。请选择它的商户。",
    }


# 推送票据迟到: once at 30 minutes, again at 60; a new ticket begins anew


def _find_late(_app: Flask) -> Select[int]:
    # One that was only just entered has not had the time to get a ticket.
    since = func.coalesce(ThirdPartyApp.ticket_at, ThirdPartyApp.created_at)
    late = since < utcnow() - fleet.TICKET_WARN
    return select(ThirdPartyApp.id).where(ThirdPartyApp.active.is_(True), late)


def _late_news(_app: Flask, row: ThirdPartyApp) -> News:
    at = row.ticket_at
    alarm = (at or row.created_at) < utcnow() - fleet.TICKET_ALARM
    words = f"上次收到是 {_day(at)}" if at else "从未收到"
    return {
        "level": "bad" if alarm else "warn",
        "dedup": f"{row.id}:{'alarm' if alarm else 'warn'}:{_stamp(at)}",
        "title": say("第三方应用「{name}」超过 {count} 分钟没有收到推送票据", name=str(row), count=60 if alarm else 30),
        "body": f"{words}。请检查授权事件接收 URL、消息校验 Token 和消息加解密 Key；3 小时没有票据会停止所有操作。",
    }


# 操作结果待核实: one by one, those of a batch together


def _find_unknown(_app: Flask) -> Select[int]:
    known = exists().where(Notification.kind == "run_unknown", Notification.subject_id == OperationRun.id)
    condition = fleet.unknown() & (OperationRun.started_at < utcnow() - UNKNOWN_AFTER)
    of_batches = select(func.min(OperationRun.id)).where(condition).group_by(OperationRun.batch_id)
    one_each = OperationRun.batch_id.is_(None) | OperationRun.id.in_(of_batches)
    return select(OperationRun.id).where(condition, one_each, ~known).order_by(OperationRun.id)


def _unknown_news(_app: Flask, run: OperationRun) -> News:
    name = OPERATIONS[run.operation].title if run.operation in OPERATIONS else run.operation
    return {
        "dedup": run.batch_id or f"run:{run.id}",
        "title": say(
            "「{name}」的「{what}」{state}",
            name=str(run.mini_program or run.appid),
            what=ours(name),
            state=ours(words_of(RunState)[RunState.UNKNOWN]),
        ),
        "body": say(
            "这一批操作中有{what}。请在抖音开放平台核对后，在操作记录中标记结果。"
            if run.batch_id
            else "{what}。请在抖音开放平台核对后，在操作记录中标记结果。",
            what=ours(run.message or "抖音没有返回结果"),
        ),
    }


LOOKS = (
    Look("audit_stuck", MiniProgram, _find_stuck, _stuck_news),
    Look("authorization_lapsing", MiniProgram, _find_lapsing, _lapsing_news),
    Look("permissions_lacking", MiniProgram, _find_lacking, _lacking_news),
    Look("unclaimed", MiniProgram, _find_unclaimed, _unclaimed_news),
    Look("ticket_late", ThirdPartyApp, _find_late, _late_news),
    Look("run_unknown", OperationRun, _find_unknown, _unknown_news),
)


# 定时任务失败


def _tell_job(app: Flask, job: str, title: str) -> int:
    """Once from the first failure to the next success, and at most once an hour for each job."""
    newest = select(JobRun).where(JobRun.job == job).order_by(JobRun.id.desc()).limit(1)
    with app_scope(app, PLATFORM) as session, reading():
        last = session.scalar(newest.where(JobRun.outcome != "running"))
        if last is None or last.outcome != "failed":
            return 0
        good = session.scalar(newest.where(JobRun.outcome == "ok"))
    began = f"{good.started_at:%Y%m%d%H}" if good is not None else "never"
    with app_scope(app, PLATFORM) as session:
        told = tell(
            session,
            "job_failed",
            subject=("job", None),
            dedup=f"{job}:{began}",
            title=say("定时任务「{title}」执行失败", title=ours(title)),
            body=last.result,
        )
        session.commit()
        return told

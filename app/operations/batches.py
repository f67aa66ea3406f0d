"""Batches of operations: what goes on of them, and ending what has not begun."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.engine import rows_changed
from app.errors import ErrorKind
from app.i18n.sentence import ours, say
from app.models.kit.audit import record
from app.models.kit.operation import OperationRun, RunState
from app.operations.ready import obstacle
from app.operations.registry import Look, Operation

CHUNK = 500
OPEN = (RunState.QUEUED, RunState.RUNNING, RunState.UNKNOWN)
CANCELLED = "已取消"
_FOR_GOOD: dict[str, str] = {
    ErrorKind.BANNED: "已被抖音封禁，重试也不会成功",
    ErrorKind.CAPABILITY: "小程序没有本操作需要的能力：请先在抖音开放平台申请",
    ErrorKind.PERSON: "因用户本身的原因被拒绝，重试也不会成功",
    ErrorKind.FAULT: "系统调用的地址抖音不认得，升级之前重试也不会成功",
    ErrorKind.RETIRED: "抖音已停用这个接口，升级之前重试也不会成功",
}


@dataclass
class Batch:
    """One batch in numbers."""

    id: str
    operation: str
    actor_name: str
    created_at: datetime
    counts: dict[RunState, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def done(self) -> int:
        return self.total - sum(self.counts.get(state, 0) for state in OPEN)

    @property
    def failed(self) -> int:
        return self.counts.get(RunState.FAILED, 0)

    @property
    def queued(self) -> int:
        return self.counts.get(RunState.QUEUED, 0)

    @property
    def over(self) -> bool:
        return self.done == self.total


def open_batches(session: Session, actor_id: int | None) -> set[str]:
    """Ids of the batches that are not over; of one user, or of all."""
    statement = select(OperationRun.batch_id).where(OperationRun.state.in_(OPEN), *_of(actor_id))
    return {batch_id for batch_id in session.scalars(statement.distinct()) if batch_id}


def batches(session: Session, actor_id: int | None, *, within: timedelta, limit: int) -> list[Batch]:
    """The latest batches, newest first; of one user, or of all."""
    newest = (
        select(OperationRun.batch_id)
        .where(OperationRun.batch_id.is_not(None), OperationRun.created_at > utcnow() - within, *_of(actor_id))
        .group_by(OperationRun.batch_id)
        .order_by(func.max(OperationRun.id).desc())
        .limit(limit)
    )
    return _counted(session, [batch_id for batch_id in session.scalars(newest) if batch_id])


def _counted(session: Session, ids: Iterable[str]) -> list[Batch]:
    wanted = list(ids)
    columns = (OperationRun.batch_id, OperationRun.operation, OperationRun.actor_name, OperationRun.state)
    statement = (
        select(*columns, func.count(OperationRun.id), func.min(OperationRun.created_at))
        .where(OperationRun.batch_id.in_(wanted))
        .group_by(*columns)
    )
    found: dict[str, Batch] = {}
    for name, operation, actor, state, count, created in session.execute(statement):
        batch_id = str(name)
        batch = found.setdefault(batch_id, Batch(batch_id, operation, actor, created))
        batch.counts[state] = batch.counts.get(state, 0) + count
        batch.created_at = min(batch.created_at, created)
    return [found[batch_id] for batch_id in wanted if batch_id in found]


def _of(actor_id: int | None) -> list[Any]:
    return [] if actor_id is None else [OperationRun.actor_id == actor_id]


@dataclass(frozen=True)
class Judged:
    """A failed run: why doing the same again cannot help, empty where it can. `input`: other values are needed."""

    run_id: int
    subject_id: int
    why: str = ""
    input: bool = False
    gone: bool = False


def judged(session: Session, op: Operation, batch_id: str, *, most: int | None = None) -> list[Judged]:
    """The failed runs of a batch, or the first `most`: what was refused for good, and rows whose state refuses now."""
    columns = (OperationRun.id, OperationRun.subject_id, OperationRun.error_kind)
    failed = select(*columns).where(OperationRun.batch_id == batch_id, OperationRun.state == RunState.FAILED)
    runs = session.execute(failed.order_by(OperationRun.id).limit(most)).all()
    found: list[Judged] = []
    for start in range(0, len(runs), CHUNK):
        part = runs[start : start + CHUNK]
        rows = {row.id: row for row in session.scalars(select(op.on).where(op.on.id.in_([run[1] for run in part])))}
        look = Look(session, list(rows.values()))
        found += [_judged(op, *run, rows.get(run[1]), look) for run in part]
    return found


def _judged(op: Operation, run_id: int, subject_id: int, kind: str, row: Any, look: Look) -> Judged:
    if row is None:
        return Judged(run_id, subject_id, "对象已被删除或不可见", gone=True)
    if kind == ErrorKind.PARAMETER:
        return Judged(run_id, subject_id, "填写的内容不被接受，重试也不会成功", input=True)
    if kind in _FOR_GOOD:
        return Judged(run_id, subject_id, _FOR_GOOD[kind])
    if kind == ErrorKind.AUTHORIZATION and getattr(row, "missing_permissions", None):
        missing = [ours(name) for name in row.missing_permissions]
        return Judged(run_id, subject_id, say("缺少权限「{missing}」：请让商户重新授权并勾选", missing=missing))
    return Judged(run_id, subject_id, obstacle(op, row, look))


def cancel(session: Session, batch_id: str, actor_name: str) -> int:
    """End the runs of a batch that still wait; those that a worker has go on. How many ended. Commits."""
    count = rows_changed(
        session,
        update(OperationRun)
        .where(OperationRun.batch_id == batch_id, OperationRun.state == RunState.QUEUED)
        .values(
            state=RunState.FAILED,
            message=CANCELLED,
            advice=say("由 {who} 取消，之后没有发送", who=actor_name),
            finished_at=utcnow(),
            hold="",
        ),
    )
    if count:
        record(session, "cancel", subject_name=f"批次 {batch_id[:8]}", rows=count)
    session.commit()
    return count

"""The queue of background tasks: asked for, claimed with a lease, told how far they are, cancelled, finished."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from flask import current_app
from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.orm import Session

from app.data import storage
from app.data.claims import Claims
from app.data.clock import utcnow
from app.data.engine import rows_changed
from app.errors import Refused
from app.i18n.sentence import cut
from app.models.kit.audit import Actor, record
from app.models.kit.task import Task, TaskKind, TaskState

CLAIMS = Claims(Task)
LEASE = timedelta(seconds=90)
KEPT = timedelta(hours=24)  # files
REMEMBERED = timedelta(days=30)  # rows
MOST_WAITING = 20  # of one person's that are not over
MOST_A_DAY = 300  # of one person's: each may keep a file
MAX_ATTEMPTS = 5
UNFINISHED = (TaskState.QUEUED, TaskState.RUNNING)


class Cancelled(Exception):
    """Somebody asked for the task to end; what its chunks committed stays."""


class LeaseLost(Exception):
    """Another worker took the task over, or it was ended: what was not committed is dropped."""


class Interrupted(Exception):
    """The process ends: the task goes back to the queue and goes on where it was."""


def new_task(session: Session, kind: TaskKind, *, actor: Actor, view: str, title: str, **values: Any) -> Task:
    """Put a task into the queue and commit; a worker of this process, if there is one, begins at once.

    Refused, and its files deleted, when the person has too many already.
    """
    if refusal := _no_room(session, actor.id):
        for key in filter(None, (values.get("input_key"), values.get("params", {}).get("kept"))):
            storage.delete(key)
        raise Refused(refusal)
    task = Task(
        kind=kind,
        view=view,
        title=cut(title, 128),
        user_id=actor.id,
        merchant_id=actor.merchant_id,
        actor=actor.info("web"),
        expires_at=utcnow() + KEPT,
        **values,
    )
    session.add(task)
    session.commit()
    wake()
    return task


def _no_room(session: Session, user_id: int | None) -> str:
    mine = select(func.count(Task.id)).where(Task.user_id == user_id)
    if (session.scalar(mine.where(Task.state.in_(UNFINISHED))) or 0) >= MOST_WAITING:
        return f"您有 {MOST_WAITING} 个任务还没有结束：请等待完成或取消后再试"
    if (session.scalar(mine.where(Task.created_at > utcnow() - timedelta(days=1))) or 0) >= MOST_A_DAY:
        return f"24 小时内最多发起 {MOST_A_DAY} 个任务：请稍后再试"
    return ""


def wake() -> None:
    """Tell the workers of this process that a task waits."""
    for listener in current_app.extensions.get("task_wakers", ()):
        listener()


def due(session: Session, limit: int) -> list[int]:
    """Ids of the tasks that nobody works on, oldest first."""
    statement = select(Task.id).where(_free(utcnow())).order_by(Task.id).limit(limit)
    return list(session.scalars(statement))


def _free(now: Any) -> Any:
    return or_(Task.state == TaskState.QUEUED, and_(Task.state == TaskState.RUNNING, Task.lease_until < now))


def claim(session: Session, task_id: int) -> str | None:
    """Take a task; gives the mark of this hold, or None when another has it. Commits."""
    now = utcnow()
    begun = {"state": TaskState.RUNNING, "attempts": Task.attempts + 1, "started_at": now}
    mark = CLAIMS.take(session, Task.id == task_id, _free(now), span=LEASE, **begun)
    session.commit()
    return mark


class Hold:
    """One worker's hold on one task. Every step is written with the mark, so that a lost hold writes nothing."""

    def __init__(self, session: Session, task: Task, mark: str, stopping: Callable[[], bool]) -> None:
        self.session = session
        self.task_id = task.id
        self.mark = mark
        self.stopping = stopping

    def write(self, **values: Any) -> None:
        """Change the task in the session's transaction and commit both; LeaseLost when it is not ours any more."""
        self.session.flush()
        if not CLAIMS.write(self.session, self.task_id, self.mark, Task.state == TaskState.RUNNING, **values):
            self.session.rollback()
            raise LeaseLost
        self.session.commit()

    def step(self, done: int, failed: int = 0, **more: Any) -> None:
        """Commit a chunk with how far the task is. Cancelled or Interrupted where it must not go on."""
        self.write(done=done, failed=failed, lease_until=utcnow() + LEASE, **more)
        if self.asked_to_end():
            raise Cancelled
        if self.stopping():
            raise Interrupted

    def progress(self, done: int, failed: int = 0) -> bool:
        """The same for those who end by themselves: False once somebody asked for the end."""
        self.write(done=done, failed=failed, lease_until=utcnow() + LEASE)
        if self.stopping():
            raise Interrupted
        return not self.asked_to_end()

    def asked_to_end(self) -> bool:
        return bool(self.session.scalar(select(Task.cancel_asked).where(Task.id == self.task_id)))

    def finish(self, state: TaskState, message: str, **more: Any) -> None:
        """The end, however it came."""
        now = utcnow()
        self.write(
            state=state,
            message=message[:2000],
            finished_at=now,
            expires_at=now + KEPT,
            owner=None,
            lease_until=None,
            **more,
        )

    def give_back(self) -> None:
        """To the queue again; the attempt does not count."""
        self.write(state=TaskState.QUEUED, owner=None, lease_until=None, attempts=Task.attempts - 1)


def cancel(session: Session, task: Task) -> bool:
    """End a task: at once while it waits, after its current chunk while it runs. False when it is over. Commits."""
    now = utcnow()
    record(session, "cancel", subject=task, title=task.title)
    waiting = update(Task).where(Task.id == task.id, Task.state == TaskState.QUEUED)
    ended = {"state": TaskState.CANCELLED, "message": "已取消，没有开始", "finished_at": now, "cancel_asked": True}
    running = update(Task).where(Task.id == task.id, Task.state == TaskState.RUNNING)
    for statement, values in ((waiting, ended), (running, {"cancel_asked": True})):
        if rows_changed(session, statement.values(**values)) == 1:
            session.commit()
            return True
    session.rollback()
    return False

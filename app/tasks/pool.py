"""Background tasks at work: two at a time in a process, each in the scope and under the name of who asked for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import structlog
from flask import Flask
from sqlalchemy import delete, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.data import storage
from app.data.clock import utcnow
from app.data.engine import reading
from app.data.tenancy import PLATFORM, app_scope, merchant_scope
from app.data.types import words_of
from app.errors import Refused
from app.i18n.sentence import ours, say
from app.kept import kept_of
from app.models import Task, TaskKind, TaskState
from app.notices.tell import tell
from app.tasks import bulk, export
from app.tasks.importing.task import files_of, run
from app.tasks.queue import MAX_ATTEMPTS, REMEMBERED, Cancelled, Hold, Interrupted, LeaseLost, claim, due

log = structlog.get_logger(__name__)
AT_ONCE = 2
CHUNK = 500


def _bulk_edit(hold: Hold, task: Task) -> tuple[str, dict[str, Any]]:
    ended = False

    def progress(done: int, failed: int) -> bool:
        nonlocal ended
        ended = ended or not hold.progress(done + failed, failed)
        return not ended

    outcome = bulk.apply(hold.session, task, progress)
    if ended:
        raise Cancelled
    return outcome.words(), {}


HANDLERS: dict[TaskKind, Callable[[Hold, Task], tuple[str, dict[str, Any]]]] = {
    TaskKind.EXPORT: export.run,
    TaskKind.IMPORT: run,
    TaskKind.BULK_EDIT: _bulk_edit,
}


TOLD = {TaskState.SUCCEEDED: "good", TaskState.FAILED: "bad"}


def perform(app: Flask, task_id: int, stopping: Callable[[], bool] = lambda: False) -> bool:
    """Work on one task to its end; False when another worker has it."""
    with app_scope(app, PLATFORM) as session:
        mark = claim(session, task_id)
        if mark is None:
            return False
        task = session.get_one(Task, task_id)
        scope = PLATFORM if task.merchant_id is None else merchant_scope(task.merchant_id)
        actor = dict(task.actor)
        refusal = app.extensions["task_gate"](session, task) or _worn_out(task)
    with app_scope(app, scope, actor=actor) as session:
        task = session.get_one(Task, task_id)
        _work(Hold(session, task, mark, stopping), task, refusal)
    with app_scope(app, PLATFORM) as session:
        _tell(session, session.get_one(Task, task_id))
        session.commit()
    return True


def _tell(session: Session, task: Task) -> None:
    """Let who asked know how it ended; a dry run's end is on the page that waits for it."""
    if task.state not in TOLD or task.params.get("dry"):
        return
    tell(
        session,
        "transfer_done",
        subject=("task", task.id),
        title=say("{task}：{state}", task=ours(task.title), state=ours(words_of(TaskState)[task.state])),
        body=task.message,
        level=TOLD[task.state],
        users=[task.user_id],
        dedup=str(task.id),
    )


def _worn_out(task: Task) -> str:
    return "任务多次中断，已停止：请重新发起，或联系技术支持" if task.attempts > MAX_ATTEMPTS else ""


def _work(hold: Hold, task: Task, refusal: str) -> None:
    session = hold.session
    try:
        try:
            if refusal:
                raise Refused(refusal)
            spent = [] if task.params.get("dry") else files_of(task)
            message, more = HANDLERS[task.kind](hold, task)
            _succeeded(hold, message, more)
            for key in spent:
                storage.delete(key)
        except Refused as refused:
            session.rollback()
            hold.finish(TaskState.FAILED, refused.message)
        except Cancelled:
            session.rollback()
            hold.finish(TaskState.CANCELLED, _so_far(session, hold.task_id))
        except Interrupted:
            session.rollback()
            hold.give_back()
        except (LeaseLost, SQLAlchemyError):
            raise
        except Exception:  # the worker's boundary: a fault of ours must not stop the queue
            log.exception("task_fault", task=hold.task_id)
            session.rollback()
            hold.finish(TaskState.FAILED, f"内部错误，已停止：请联系技术支持并提供任务编号 #{hold.task_id}")
    except LeaseLost:
        log.warning("task_lease_lost", task=hold.task_id)


def _succeeded(hold: Hold, message: str, more: dict[str, Any]) -> None:
    try:
        hold.finish(TaskState.SUCCEEDED, message, **more)
    except LeaseLost:
        if made := more.get("output_key"):
            storage.delete(made)  # whoever took the task over makes another
        raise


def _so_far(session: Session, task_id: int) -> str:
    done = session.scalar(select(Task.done).where(Task.id == task_id)) or 0
    return f"已取消：此前已处理 {done} 行"


class TaskPool:
    """Two threads of this process for tasks, so that a long one holds up neither the scheduler nor the other."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="task")
        self.guard = threading.Lock()
        self.in_hand: dict[int, Future[Any]] = {}
        self.ended = threading.Event()

    def look(self) -> int:
        """Take what waits, as far as there are threads free; how many were begun."""
        if self.ended.is_set():
            return 0
        with app_scope(self.app, PLATFORM) as session, reading():
            found = due(session, AT_ONCE * 4)
        with self.guard:
            free = AT_ONCE - len(self.in_hand)
            fresh = [task_id for task_id in found if task_id not in self.in_hand][: max(0, free)]
            for task_id in fresh:
                self.in_hand[task_id] = self.pool.submit(self._one, task_id)
        return len(fresh)

    def _one(self, task_id: int) -> None:
        try:
            perform(self.app, task_id, self.ended.is_set)
        except SQLAlchemyError as fault:  # the database is away: the lease ends and the task is taken up again
            log.warning("task_not_written", task=task_id, fault=type(fault).__name__)
        except Exception:  # the pool would swallow it silently
            log.exception("task_worker_fault", task=task_id)
        finally:
            with self.guard:
                self.in_hand.pop(task_id, None)
            self._again()

    def _again(self) -> None:
        try:
            self.look()
        except (SQLAlchemyError, RuntimeError) as fault:  # away, or the pool is closing: the next slot looks again
            log.info("task_look", fault=type(fault).__name__)

    def wait(self) -> None:
        """Until everything in hand is over."""
        while futures := list(self.in_hand.values()):
            for future in futures:
                future.result()

    def stop(self) -> None:
        """Running tasks end after their chunk and go back to the queue."""
        self.ended.set()
        self.pool.shutdown(wait=True, cancel_futures=True)


def pool_of(app: Flask) -> TaskPool:
    """The application's pool, made when it is first needed."""
    return kept_of(app).one("task_pool", lambda: TaskPool(app), over=lambda pool: pool.ended.is_set())


def run_due(app: Flask) -> str:
    """The job: hand waiting tasks to the pool and come back at once."""
    begun = pool_of(app).look()
    return f"开始 {begun} 个任务" if begun else "没有等待的任务"


def clean(app: Flask) -> int:
    """Delete the files of tasks whose time is over, and tasks of a month ago; how many files went."""
    files = 0
    while True:
        with app_scope(app, PLATFORM) as session:
            over = Task.state.notin_((TaskState.QUEUED, TaskState.RUNNING))
            held = (Task.input_key != "") | (Task.output_key != "")
            old = select(Task).where(Task.expires_at < utcnow(), over, held).limit(CHUNK)
            found = list(session.scalars(old))
            for task in found:
                for key in filter(None, [task.output_key, *files_of(task)]):
                    storage.delete(key)
                    files += 1
            gone = update(Task).where(Task.id.in_([task.id for task in found]))
            session.execute(gone.values(input_key="", output_key="").execution_options(synchronize_session=False))
            if len(found) < CHUNK:
                session.execute(delete(Task).where(over, Task.created_at < utcnow() - REMEMBERED))
                session.commit()
                return files
            session.commit()

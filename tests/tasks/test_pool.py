"""Background tasks: one worker each, taken over after a death, ended on request, in the scope of who asked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from app.cli import setup as setting_up
from app.data.clock import utcnow
from app.data.engine import writing
from app.errors import Refused
from app.models import AuditEntry, Door, Merchant, Notification, OperationRun, RunState, Task, TaskKind, TaskState, User
from app.models.kit.audit import Actor
from app.operations import batches
from app.operations.perform import perform
from app.tasks import export, queue
from app.tasks import pool as tasks
from tests.conftest import PASSWORD, Actors, change, csrf_token, refresh
from tests.pages import text_of, visible


def user(session: Session, name: str = "asker", role: str = "operator", merchant: Merchant | None = None) -> User:
    with writing():
        key = merchant.key if merchant else ""
        name, _ = setting_up.add_user(session, name, role, merchant_key=key, password=PASSWORD)
        found = session.scalars(sa.select(User).where(User.username == name)).one()
        session.commit()
        return found


def new_export(app: Flask, session: Session, asker: User, keys: list[int], **more: Any) -> Task:
    with writing():
        actor = Actor(asker.id, asker.username, merchant_id=asker.merchant_id)
        view = "MerchantView" if asker.merchant_id is None else "MyMiniProgramView"
        return queue.new_task(
            session,
            TaskKind.EXPORT,
            actor=actor,
            view=view,
            title="导出",
            params={"format": "csv"},
            input_key=export.keep_keys(keys),
            total=len(keys),
            **more,
        )


@pytest.fixture
def task(app: Flask, session: Session, actors: Actors) -> Task:
    return new_export(app, session, user(session), [actors.alice.id, actors.bob.id])


@pytest.mark.parametrize("role", ["operator", "owner"])
def test_who_asked_is_told_how_it_ended_and_nobody_else(
    app: Flask, session: Session, actors: Actors, role: str
) -> None:
    merchant = actors.alice if role == "owner" else None
    asker = user(session, "asker", role, merchant)
    user(session, "colleague", role, merchant)
    asked = new_export(app, session, asker, [])
    assert tasks.perform(app, asked.id)
    refresh(session)
    (told,) = session.scalars(sa.select(Notification).where(Notification.kind == "transfer_done"))
    assert (told.user_id, told.level, told.merchant_id) == (asker.id, "good", merchant.id if merchant else None)
    assert told.title == "导出：已完成"


def handled(monkeypatch: pytest.MonkeyPatch, work: Callable[[queue.Hold, Task], Any]) -> None:
    monkeypatch.setitem(tasks.HANDLERS, TaskKind.EXPORT, work)


def test_a_task_is_worked_to_its_end(app: Flask, session: Session, task: Task) -> None:
    assert tasks.perform(app, task.id)
    refresh(session)
    assert (task.state, task.done, task.message) == (TaskState.SUCCEEDED, 2, "已导出 2 行")
    assert task.finished_at is not None and task.owner is None
    assert not tasks.perform(app, task.id)


def test_of_many_workers_one_has_it(app: Flask, session: Session, task: Task) -> None:
    found: list[bool] = []
    barrier = threading.Barrier(6)

    def ask() -> None:
        barrier.wait()
        found.append(tasks.perform(app, task.id))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.count(True) == 1


def test_the_job_hands_tasks_to_its_pool_and_comes_back(app: Flask, session: Session, task: Task) -> None:
    assert tasks.run_due(app) == "开始 1 个任务"
    tasks.pool_of(app).wait()
    refresh(session)
    assert task.state == TaskState.SUCCEEDED
    assert tasks.run_due(app) == "没有等待的任务"


def test_more_tasks_than_threads_are_all_done(app: Flask, session: Session, actors: Actors) -> None:
    asker = user(session)
    made = [new_export(app, session, asker, [actors.alice.id]) for _ in range(6)]
    tasks.run_due(app)
    pool = tasks.pool_of(app)
    pool.wait()
    refresh(session)
    assert {item.state for item in made} == {TaskState.SUCCEEDED}


def test_a_new_task_wakes_the_workers(
    app: Flask, session: Session, actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[bool] = []
    monkeypatch.setitem(app.extensions, "task_wakers", [lambda: woken.append(True)])
    new_export(app, session, user(session), [actors.alice.id])
    assert woken == [True]


def test_a_dead_workers_task_is_taken_over_after_its_lease(app: Flask, session: Session, task: Task) -> None:
    held = {"state": TaskState.RUNNING, "owner": "dead", "attempts": 1}
    change(session, task, lease_until=utcnow() + timedelta(seconds=60), **held)
    assert not tasks.perform(app, task.id)
    change(session, task, lease_until=utcnow() - timedelta(seconds=1))
    assert tasks.perform(app, task.id)
    refresh(session)
    assert (task.state, task.attempts) == (TaskState.SUCCEEDED, 2)


def test_a_worker_that_lost_its_lease_writes_nothing(
    app: Flask, session: Session, task: Task, actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(hold: queue.Hold, row: Task) -> Any:
        hold.session.execute(sa.update(Task).where(Task.id == row.id).values(owner="another"))
        hold.session.commit()
        hold.session.get_one(Merchant, actors.alice.id).contact = "不该写入"
        hold.step(1)

    handled(monkeypatch, slow)
    tasks.perform(app, task.id)
    refresh(session)
    assert (task.state, task.owner) == (TaskState.RUNNING, "another")
    assert actors.alice.contact == ""


def test_a_task_that_keeps_dying_is_ended(app: Flask, session: Session, task: Task) -> None:
    change(session, task, attempts=queue.MAX_ATTEMPTS)
    tasks.perform(app, task.id)
    refresh(session)
    assert task.state == TaskState.FAILED and "多次中断" in task.message


def test_a_fault_of_ours_ends_the_task_with_its_number(
    app: Flask, session: Session, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_hold: queue.Hold, _row: Task) -> Any:
        raise ZeroDivisionError("token=isvact.abcdefgh12345")

    handled(monkeypatch, broken)
    tasks.perform(app, task.id)
    refresh(session)
    assert task.state == TaskState.FAILED and f"#{task.id}" in task.message and "isvact" not in task.message


def test_a_refusal_is_the_tasks_message(
    app: Flask, session: Session, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_hold: queue.Hold, _row: Task) -> Any:
        raise Refused("文件坏了")

    handled(monkeypatch, refused)
    tasks.perform(app, task.id)
    refresh(session)
    assert (task.state, task.message) == (TaskState.FAILED, "文件坏了")


def test_a_process_that_ends_gives_its_task_back(app: Flask, session: Session, task: Task) -> None:
    tasks.perform(app, task.id, stopping=lambda: True)
    refresh(session)
    assert (task.state, task.owner, task.attempts) == (TaskState.QUEUED, None, 0)
    tasks.perform(app, task.id)
    refresh(session)
    assert task.state == TaskState.SUCCEEDED


# Cancelling.


def test_a_waiting_task_is_cancelled_at_once(app: Flask, session: Session, task: Task) -> None:
    with writing():
        assert queue.cancel(session, task)
    refresh(session)
    assert task.state == TaskState.CANCELLED
    assert not tasks.perform(app, task.id)


def test_a_running_task_ends_after_its_chunk(
    app: Flask, session: Session, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []

    def long(hold: queue.Hold, row: Task) -> Any:
        for done in (1, 2, 3):
            if done == 2:
                queue.cancel(hold.session, hold.session.get_one(Task, row.id))
            steps.append(done)
            hold.step(done)

    handled(monkeypatch, long)
    tasks.perform(app, task.id)
    refresh(session)
    assert steps == [1, 2]
    assert (task.state, task.message) == (TaskState.CANCELLED, "已取消：此前已处理 2 行")
    with writing():
        assert not queue.cancel(session, task)


def test_a_cancel_is_in_the_audit_log(app: Flask, session: Session, task: Task) -> None:
    with writing():
        queue.cancel(session, task)
    refresh(session)
    assert session.scalars(sa.select(AuditEntry).where(AuditEntry.action == "cancel")).one().subject_type == "task"


# Whose work it is.


def test_who_was_disabled_gets_no_work_done(app: Flask, session: Session, actors: Actors) -> None:
    asker = user(session)
    row = new_export(app, session, asker, [actors.alice.id])
    change(session, asker, active=False)
    tasks.perform(app, row.id)
    refresh(session)
    assert row.state == TaskState.FAILED and "停用" in row.message


def test_who_moved_to_another_merchant_gets_no_work_done(app: Flask, session: Session, actors: Actors) -> None:
    asker = user(session, "owner1", "owner", actors.alice)
    row = new_export(app, session, asker, [actors.alice_app.id])
    change(session, asker, merchant_id=actors.bob.id)
    tasks.perform(app, row.id)
    refresh(session)
    assert row.state == TaskState.FAILED and "商户" in row.message


def test_a_merchants_task_sees_its_rows_only(app: Flask, session: Session, actors: Actors) -> None:
    asker = user(session, "owner1", "owner", actors.alice)
    row = new_export(app, session, asker, [actors.alice_app.id, actors.bob_app.id])
    tasks.perform(app, row.id)
    refresh(session)
    with app.app_context():
        from app.data import storage

        text = storage.read(row.output_key).decode()
    assert actors.alice_app.appid in text and actors.bob_app.appid not in text


def test_old_tasks_are_forgotten(app: Flask, session: Session, task: Task) -> None:
    tasks.perform(app, task.id)
    change(session, task, created_at=utcnow() - timedelta(days=40), expires_at=utcnow() - timedelta(days=39))
    assert tasks.clean(app) == 1
    refresh(session)
    assert session.scalars(sa.select(Task)).first() is None


# Bulk edits.


def test_a_bulk_edit_is_done_in_the_background(app: Flask, session: Session, actors: Actors) -> None:
    asker = user(session)
    with writing():
        params = {"model": "merchant", "ids": [actors.alice.id, actors.bob.id], "values": {"plan": "专业版"}}
        row = queue.new_task(
            session,
            TaskKind.BULK_EDIT,
            actor=Actor(asker.id, "asker"),
            view="MerchantView",
            title="批量修改",
            params=params,
            total=2,
        )
    tasks.perform(app, row.id)
    refresh(session)
    assert (row.state, row.done) == (TaskState.SUCCEEDED, 2), row.message
    assert actors.alice.plan == actors.bob.plan == "专业版"


# Batches.


def runs(session: Session, actors: Actors, actor_id: int | None = None) -> list[OperationRun]:
    with writing():
        made = [
            OperationRun(
                operation="sync_versions",
                merchant_id=app.merchant_id,
                subject_type="mini_program",
                subject_id=app.id,
                mini_program_id=app.id,
                appid=app.appid,
                door=Door.BATCH,
                state=state,
                batch_id="c" * 32,
                lock_key=f"mini_program:{app.id}",
                actor_name="运营",
                actor_id=actor_id,
                lock=f"mini_program:{app.id}" if state == RunState.RUNNING else None,
            )
            for app, state in (
                (actors.alice_app, RunState.QUEUED),
                (actors.bob_app, RunState.RUNNING),
                (actors.alice_app, RunState.SUCCEEDED),
            )
        ]
        session.add_all(made)
        session.commit()
    return made


def test_cancelling_a_batch_ends_what_waits_and_nothing_else(app: Flask, session: Session, actors: Actors) -> None:
    waiting, running, done = runs(session, actors)
    with writing():
        assert batches.cancel(session, "c" * 32, "运营") == 1
    refresh(session)
    assert (waiting.state, waiting.message) == (RunState.FAILED, "已取消")
    assert waiting.advice == "由 运营 取消，之后没有发送", "it may have been sent before, and been refused for a while"
    assert waiting.finished_at is not None and waiting.lock is None
    assert (running.state, done.state) == (RunState.RUNNING, RunState.SUCCEEDED)
    assert not perform(app, waiting.id)


def test_the_batch_page_cancels(session: Session, client_for: Callable[..., FlaskClient], actors: Actors) -> None:
    waiting = runs(session, actors)[0]
    operator, page = client_for("operator"), f"/batch/{'c' * 32}"
    assert "取消排队的 1 个" in visible(text_of(operator, page))
    assert "取消排队" not in text_of(client_for("auditor"), page)
    answer = operator.post(f"{page}/cancel", data={"csrf_token": csrf_token(operator, "/logout/")})
    assert answer.status_code == 302
    refresh(session)
    assert waiting.message == "已取消"
    assert client_for("auditor").post(f"{page}/cancel").status_code in {400, 403}


# The drawer.


def test_the_drawer_lists_what_its_reader_began(
    app: Flask, session: Session, client_for: Callable[..., FlaskClient], actors: Actors
) -> None:
    client = client_for("operator")
    asker = session.scalars(sa.select(User).where(User.username.startswith("operator"))).one()
    row = new_export(app, session, asker, [actors.alice.id])
    runs(session, actors, asker.id)
    assert 'data-running="2"' in text_of(client, "/tasks/badge")
    drawer = visible(text_of(client, "/tasks/drawer"))
    assert "导出" in drawer and "排队中" in drawer and "批量" in drawer
    other = client_for("operator")
    assert "排队中" not in text_of(other, "/tasks/drawer") and "data-running" not in text_of(other, "/tasks/badge")
    assert other.post(f"/tasks/{row.id}/cancel", data={"csrf_token": csrf_token(other, "/logout/")}).status_code == 404
    answer = client.post(f"/tasks/{row.id}/cancel", data={"csrf_token": csrf_token(client, "/logout/")})
    assert answer.status_code == 302
    refresh(session)
    assert row.state == TaskState.CANCELLED


def test_an_administrator_may_look_at_all_and_a_merchant_at_none_of_them(
    app: Flask, session: Session, client_for: Callable[..., FlaskClient], actors: Actors, task: Task
) -> None:
    admin, auditor, owner = client_for("platform_admin"), client_for("auditor"), client_for("owner", actors.bob)
    runs(session, actors)
    assert "排队中" not in text_of(admin, "/tasks/") and "排队中" in text_of(admin, "/tasks/?all=1")
    for other in (auditor, owner):
        page = visible(text_of(other, "/tasks/?all=1"))
        assert "没有任务" in page and "批量" not in page.replace("批量操作会列在这里", "")
    assert admin.get(f"/tasks/{task.id}/download").status_code == 404


def test_pages_ask_for_the_number_after_they_are_shown(client_for: Callable[..., FlaskClient]) -> None:
    page = text_of(client_for("operator"), "/tasks/")
    assert 'data-url="/tasks/badge"' in page and 'data-jobs="/tasks/drawer"' in page and "tasks.js" in page

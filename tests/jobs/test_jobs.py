"""Scheduled jobs: every row of the table runs, a slot is done once, and the poll brings verdicts home."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.errors import DouyinError, Refused
from app.i18n.sentence import said, say
from app.jobs import dispatch, schedule
from app.jobs.run import run_job, run_now, start_embedded
from app.jobs.schedule import SCHEDULE
from app.models import Door, JobRun, LoginAttempt, OperationRun, RunState
from app.models.kit.audit import SYSTEM
from app.operations.runs import request, wait_for
from tests.conftest import Launch, SandboxServer, change, operate, refresh, try_again


@pytest.mark.parametrize("job_id", list(SCHEDULE))
def test_every_job_runs_on_an_empty_system(app: Flask, job_id: str) -> None:
    run = run_now(app, job_id, "测试")
    assert run is not None and run.outcome == "ok", run and run.result
    assert run.finished_at is not None


def test_a_slot_is_done_once_whoever_asks(app: Flask) -> None:
    found: list[JobRun | None] = []
    barrier = threading.Barrier(4)

    def ask() -> None:
        barrier.wait()
        found.append(run_job(app, "housekeeping", slot="s1"))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([run for run in found if run is not None]) == 1


def test_a_slot_has_the_same_name_in_every_process() -> None:
    job = SCHEDULE["sync_audits"]
    at = utcnow().replace(second=7, microsecond=0)
    assert schedule.slot_of(job, at) == schedule.slot_of(job, at + timedelta(seconds=2))
    assert schedule.next_slot(job, at) > at


def test_a_job_that_fails_is_recorded_and_does_not_raise(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    def body(_app: Flask) -> str:
        raise ValueError("access_token=isvact.abcdefgh12345")

    monkeypatch.setitem(SCHEDULE, "broken", schedule.Job("坏任务", 10, body))
    run = run_now(app, "broken", "测试")
    assert run is not None and run.outcome == "failed"
    assert "isvact" not in run.result


@pytest.mark.parametrize(
    ("fault", "kept", "english"),
    [
        (ValueError("商户「停用」已停用"), "ValueError: 商户「停用」已停用", "ValueError: 商户「停用」已停用"),
        (
            Refused(say("商户「{name}」已停用：请先恢复", name="商户")),
            "Refused: 商户「商户」已停用：请先恢复",
            "Refused: Merchant “商户” is deactivated: restore it first",
        ),
        (DouyinError("停用", err_no=7), "DouyinError: 7 停用", "DouyinError: 7 停用"),
    ],
)
def test_what_a_job_failed_by_is_said_as_it_was(
    app: Flask, monkeypatch: pytest.MonkeyPatch, fault: Exception, kept: str, english: str
) -> None:
    def body(_app: Flask) -> str:
        raise fault

    monkeypatch.setitem(SCHEDULE, "broken", schedule.Job("坏任务", 10, body))
    run = run_now(app, "broken", "测试")
    assert run is not None
    assert run.result == kept
    with app.test_request_context("/", headers={"Cookie": "locale=en"}):
        assert said(run.result) == english


def test_an_unknown_job_is_refused(app: Flask) -> None:
    with pytest.raises(Refused):
        run_now(app, "nope", "测试")


def test_the_poll_brings_the_verdict(app: Flask, session: Session, sandbox: SandboxServer, launch: Launch) -> None:
    row = launch.mini_program
    operate(app, session, "upload_code", row, template_id=launch.template_id, version="1.0.0", description="x")
    operate(app, session, "submit_audit", row)
    sandbox.post("audit", appid=row.appid, verdict="approve")
    change(session, row, poll_at=utcnow())
    run_now(app, "sync_audits", "测试")
    refresh(session)
    assert row.audit_state == "approved"
    assert row.poll_at is None


def test_a_job_that_failed_for_some_says_so(
    app: Flask, session: Session, sandbox: SandboxServer, launch: Launch
) -> None:
    change(session, launch.mini_program, poll_at=utcnow())
    sandbox.post("settings", drop_before_next=9, drop_path="version")
    run = run_now(app, "sync_audits", "测试")
    assert run is not None
    assert (run.outcome, run.result[:9]) == ("partly", "成功 0，失败 1")
    sandbox.post("settings", drop_before_next=0, drop_path="")
    try_again(app)  # the endpoint failed again and again, and was held
    change(session, launch.mini_program, poll_at=utcnow())
    again = run_now(app, "sync_audits", "测试")
    assert again is not None
    assert (again.outcome, again.result) == ("ok", "成功 1，失败 0")


def test_the_dispatcher_works_what_is_queued_and_is_woken(app: Flask, session: Session, launch: Launch) -> None:
    dispatcher = dispatch.Dispatcher(app)
    dispatcher.start()
    try:
        run = request(session, "sync_versions", launch.mini_program, actor=SYSTEM, door=Door.JOB)
        assert wait_for(app, run.id, 5) == RunState.SUCCEEDED
    finally:
        dispatcher.stop()
    assert app.extensions["operation_wakers"] == []  # nobody wakes, or counts on, a dispatcher that is gone


def test_workers_inside_a_server_leave_nothing_behind_that_would_wake_them(app: Flask) -> None:
    lists = [app.extensions[name] for name in ("operation_wakers", "inbound_wakers", "task_wakers")]
    stop = start_embedded(app)
    try:
        assert [len(wakers) for wakers in lists] == [1, 1, 1]
    finally:
        stop()
    assert lists == [[], [], []] and not app.extensions["kept"].get("schedulers")


def test_housekeeping_drops_what_is_old(app: Flask, session: Session) -> None:
    session.add(LoginAttempt(at=utcnow() - timedelta(days=3), user_hash="x", address="127.0.0.1"))
    session.commit()
    run_now(app, "housekeeping", "测试")
    session.rollback()
    assert session.scalar(sa.select(sa.func.count()).select_from(LoginAttempt)) == 0


def test_an_orphaned_run_is_read_back_after_its_lease(
    app: Flask, session: Session, sandbox: SandboxServer, launch: Launch
) -> None:
    params = {"template_id": launch.template_id, "version": "1.0.0", "description": "x"}
    run = request(session, "upload_code", launch.mini_program, actor=SYSTEM, door=Door.JOB, **params)
    past = utcnow() - timedelta(seconds=60)
    held = {"state": RunState.RUNNING, "lock": run.lock_key, "owner": "dead", "attempts": 1}
    change(session, run, **held, lease_until=past, started_at=past)
    dispatch.perform(app, run.id)  # reads back: nothing was uploaded
    dispatch.perform(app, run.id)  # so it is sent
    refresh(session)
    assert session.get_one(OperationRun, run.id).state == RunState.SUCCEEDED
    assert sandbox.effects(launch.mini_program.appid)["upload"] == 1

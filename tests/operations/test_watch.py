"""States that nobody announces: each is found at its limit and not before, told once, with its words."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from app.cli import setup as setting_up
from app.data.clock import utcnow
from app.data.engine import writing
from app.models import (
    AuthorizationState,
    Door,
    JobRun,
    MiniProgram,
    Notification,
    OperationRun,
    RunState,
    ThirdPartyApp,
    VersionState,
)
from app.operations import watch
from tests.conftest import PASSWORD, Actors, change, refresh

AUTHORIZED = {"state": AuthorizationState.AUTHORIZED, "permissions": [1, 2]}
JOBS = {"sync_info": "同步基本信息", "sync_audits": "查询审核结果"}


@pytest.fixture(autouse=True)
def _desk(session: Session, actors: Actors) -> None:
    """One operator hears everything; nothing is wrong with the third-party app."""
    with writing():
        setting_up.add_user(session, "operator", "operator", password=PASSWORD)
        session.scalars(sa.select(ThirdPartyApp)).one().ticket_at = utcnow()
        session.commit()


def news(session: Session) -> list[Notification]:
    refresh(session)
    return list(session.scalars(sa.select(Notification).order_by(Notification.id)))


def look(app: Flask, session: Session) -> list[str]:
    """The kinds of what is told by one more look."""
    before = len(news(session))
    count = watch.look(app, JOBS)
    found = [item.kind for item in news(session)[before:]]
    assert count == len(found)
    return found


def test_nothing_is_told_where_nothing_is_wrong(app: Flask, session: Session, actors: Actors) -> None:
    change(session, actors.alice_app, **AUTHORIZED, authorized_at=utcnow(), refresh_expires_at=utcnow() + timedelta(30))
    assert look(app, session) == []


HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
AUDITING = {"audit_state": str(VersionState.AUDITING), "audit_version": "1.0.0"}


@pytest.mark.parametrize(
    ("kind", "column", "before", "after", "given"),
    [
        ("audit_stuck", "audit_since", -71 * HOUR, -73 * HOUR, AUDITING),
        ("authorization_lapsing", "refresh_expires_at", 7 * 24 * HOUR + HOUR, 7 * 24 * HOUR - HOUR, AUTHORIZED),
        ("unclaimed", "authorized_at", -MINUTE, -3 * MINUTE, AUTHORIZED | {"merchant_id": None}),
    ],
)
def test_a_state_is_told_from_its_limit_on_and_once(
    app: Flask, session: Session, actors: Actors, kind: str, column: str, before: Any, after: Any, given: Any
) -> None:
    change(session, actors.alice_app, **given, **{column: utcnow() + before})
    assert look(app, session) == []
    change(session, actors.alice_app, **{column: utcnow() + after})
    assert look(app, session) == [kind]
    assert look(app, session) == []
    (item,) = news(session)
    assert (item.subject_type, item.subject_id) == ("mini_program", actors.alice_app.id)
    assert "爱丽丝花店" in item.title


def test_what_is_said_names_the_version_the_time_and_what_is_lacking(
    app: Flask, session: Session, actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "AUDIT_STUCK_HOURS", 24.0)
    since = utcnow() - 25 * HOUR
    change(session, actors.alice_app, **AUDITING, audit_since=since)
    given = {"state": AuthorizationState.AUTHORIZED, "permissions": [1, 3]}
    change(session, actors.bob_app, **given, authorized_at=utcnow() - HOUR)
    assert look(app, session) == ["audit_stuck", "permissions_lacking"]
    stuck, lacking = news(session)
    assert stuck.title == "「爱丽丝花店」的版本 1.0.0 审核超时"
    local = since + 8 * HOUR  # Shanghai
    assert stuck.body.startswith(f"{local:%Y-%m-%d %H:%M} 提交审核，超过 24 小时")
    assert lacking.title == "「鲍勃面馆」缺少必要权限"
    assert f"缺少：{'、'.join(actors.bob_app.missing_permissions)}。" in lacking.body


def test_lapsing_and_lacking_are_told_of_apps_that_have_a_merchant(
    app: Flask, session: Session, actors: Actors
) -> None:
    lost = {"state": AuthorizationState.REVOKED, "permissions": [], "refresh_expires_at": utcnow()}
    change(session, actors.bob_app, **lost, authorized_at=utcnow() - HOUR)
    change(
        session,
        actors.alice_app,
        state=AuthorizationState.AUTHORIZED,
        permissions=[],
        merchant_id=None,
        refresh_expires_at=utcnow(),
        authorized_at=utcnow() - HOUR,
    )
    assert look(app, session) == ["unclaimed"]


def test_of_one_kind_so_many_are_told_in_a_look_and_the_next_goes_on(
    app: Flask, session: Session, actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "MOST", 1)
    for row in (actors.alice_app, actors.bob_app):
        change(session, row, **AUDITING, audit_since=utcnow() - 80 * HOUR)
    assert [look(app, session) for _ in range(3)] == [["audit_stuck"], ["audit_stuck"], []]
    assert {item.subject_id for item in news(session)} == {actors.alice_app.id, actors.bob_app.id}


def test_the_next_look_goes_on_with_unknown_outcomes_too(
    app: Flask, session: Session, actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "MOST", 1)
    put(session, unknown(actors, 6), unknown(actors, 7))
    assert [look(app, session) for _ in range(3)] == [["run_unknown"], ["run_unknown"], []]


@pytest.mark.parametrize(("minutes", "level", "words"), [(31, "warn", "30 分钟"), (61, "bad", "60 分钟")])
def test_a_late_ticket_says_how_late_and_when_the_last_came(
    app: Flask, session: Session, minutes: int, level: str, words: str
) -> None:
    owner = session.scalars(sa.select(ThirdPartyApp)).one()
    at = utcnow() - minutes * MINUTE
    change(session, owner, ticket_at=at)
    assert look(app, session) == ["ticket_late"]
    (item,) = news(session)
    assert (item.level, words in item.title) == (level, True)
    assert f"上次收到是 {at + 8 * HOUR:%Y-%m-%d %H:%M}。" in item.body


def test_a_ticket_that_never_came_is_late_from_the_apps_entry_on(app: Flask, session: Session) -> None:
    owner = session.scalars(sa.select(ThirdPartyApp)).one()
    change(session, owner, ticket_at=None, created_at=utcnow() - 29 * MINUTE)
    assert look(app, session) == []
    change(session, owner, created_at=utcnow() - 31 * MINUTE)
    assert look(app, session) == ["ticket_late"]
    assert "从未收到" in news(session)[0].body


def unknown(actors: Actors, minutes: int, **given: Any) -> OperationRun:
    values = {
        "operation": "release",
        "subject_type": "mini_program",
        "subject_id": actors.alice_app.id,
        "door": Door.ROW,
        "mini_program_id": actors.alice_app.id,
        "merchant_id": actors.alice.id,
        "state": RunState.UNKNOWN,
        "lock_key": "x",
        "started_at": utcnow() - minutes * MINUTE,
        "not_before": utcnow() + HOUR,
    }
    return OperationRun(**values | given)


def put(session: Session, *rows: Any) -> None:
    with writing():
        refresh(session)
        session.add_all(rows)
        session.commit()


def test_an_unknown_outcome_has_five_minutes_to_be_found_out(app: Flask, session: Session, actors: Actors) -> None:
    put(session, unknown(actors, 4), unknown(actors, 6, state=RunState.SUCCEEDED))
    assert look(app, session) == []
    put(session, unknown(actors, 6, message="连接断开"))
    assert look(app, session) == ["run_unknown"]
    assert look(app, session) == []
    (item,) = news(session)
    assert item.subject_type == "operation_run"
    assert item.title.startswith("「爱丽丝花店」的「发布上线」")
    assert item.body.startswith("连接断开。")


def test_a_batch_is_told_once_and_another_apart(app: Flask, session: Session, actors: Actors) -> None:
    put(session, *(unknown(actors, 6, batch_id=name * 32) for name in "aab"))
    assert look(app, session) == ["run_unknown"] * 2
    assert all(item.body.startswith("这一批操作中有抖音没有返回结果") for item in news(session))
    assert look(app, session) == []


def test_an_operation_that_is_no_more_is_told_by_its_old_name(app: Flask, session: Session, actors: Actors) -> None:
    put(session, unknown(actors, 6, operation="no_such_operation"))
    look(app, session)
    assert "「no_such_operation」" in news(session)[0].title


def ran(session: Session, outcome: str, hours: float, job: str = "sync_info") -> None:
    at = utcnow() - timedelta(hours=hours)
    put(session, JobRun(job=job, slot=f"{at.timestamp()}", started_at=at, outcome=outcome, result="坏了"))


def test_a_failing_job_is_told_from_its_first_failure_to_its_next_success(app: Flask, session: Session) -> None:
    for outcome, hours, told in (
        ("ok", 9.0, []),
        ("failed", 8.0, ["job_failed"]),
        ("failed", 7.0, []),
        ("running", 6.5, []),
        ("ok", 6.0, []),
        ("failed", 5.0, ["job_failed"]),
        ("ok", 4.0, []),
        ("partly", 3.0, []),
    ):
        ran(session, outcome, hours)
        assert look(app, session) == told, (outcome, hours)
    first = news(session)[0]
    assert (first.title, first.body) == ("定时任务「同步基本信息」执行失败", "坏了")


def test_a_job_that_runs_again_has_failed_meanwhile(app: Flask, session: Session) -> None:
    ran(session, "failed", 2)
    ran(session, "running", 1)
    assert look(app, session) == ["job_failed"]


def test_a_job_that_never_worked_is_told_and_one_that_is_not_scheduled_is_not(app: Flask, session: Session) -> None:
    ran(session, "failed", 2)
    ran(session, "failed", 1, job="no_such_job")
    ran(session, "failed", 3, job="sync_audits")
    assert look(app, session) == ["job_failed"] * 2


def test_every_kind_that_is_looked_for_has_its_look(actors: Actors, session: Session) -> None:
    assert [one.kind for one in watch.LOOKS] == [
        "audit_stuck",
        "authorization_lapsing",
        "permissions_lacking",
        "unclaimed",
        "ticket_late",
        "run_unknown",
    ]
    assert {one.model for one in watch.LOOKS} == {MiniProgram, ThirdPartyApp, OperationRun}

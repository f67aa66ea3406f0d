"""States that nobody announces are found and told, once for each time and to whom they concern."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.engine import writing
from app.jobs.run import run_now
from app.jobs.schedule import SCHEDULE
from app.models import (
    AuthorizationState,
    Door,
    JobRun,
    MiniProgram,
    Notification,
    OperationRun,
    RunState,
    ThirdPartyApp,
    User,
    VersionState,
)
from tests.conftest import Actors, change, refresh


def look(app: Flask) -> None:
    run = run_now(app, "notices", "测试")
    assert run is not None and run.outcome == "ok", run and run.result


def told(session: Session) -> list[tuple[str, str]]:
    """(kind, user name) of everything told."""
    refresh(session)
    rows = session.execute(sa.select(Notification.kind, User.first_name).where(Notification.user_id == User.id))
    return sorted((kind, name) for kind, name in rows)


AUTHORIZED = {"state": AuthorizationState.AUTHORIZED, "permissions": [1, 2]}


def test_nothing_wrong_is_no_news(app: Flask, session: Session, actors: Actors, desk: None) -> None:
    change(session, actors.alice_app, **AUTHORIZED, authorized_at=utcnow(), refresh_expires_at=utcnow() + timedelta(9))
    look(app)
    assert told(session) == []


def test_a_stuck_audit_is_told_to_the_desk_once_for_each_submission(
    app: Flask, session: Session, actors: Actors, desk: None
) -> None:
    late = utcnow() - timedelta(hours=73)
    change(session, actors.alice_app, audit_state=str(VersionState.AUDITING), audit_since=late, audit_version="1.0.0")
    look(app)
    look(app)
    assert told(session) == [("audit_stuck", "operator")]
    change(session, actors.alice_app, audit_since=late + timedelta(minutes=1))
    look(app)
    assert len(told(session)) == 1  # submitted again before the news: that is the same audit to whoever reads it
    change(session, actors.alice_app, audit_since=utcnow())
    look(app)
    assert len(told(session)) == 1


def test_a_lapsing_authorisation_is_told_to_the_desk_and_its_owner(
    app: Flask, session: Session, actors: Actors, desk: None
) -> None:
    change(session, actors.alice_app, **AUTHORIZED, refresh_expires_at=utcnow() + timedelta(days=6))
    look(app)
    look(app)
    assert told(session) == [("authorization_lapsing", "alice"), ("authorization_lapsing", "operator")]


def test_lacking_permissions_are_told_with_their_names_and_again_after_another_authorisation(
    app: Flask, session: Session, actors: Actors, desk: None
) -> None:
    given = {"state": AuthorizationState.AUTHORIZED, "permissions": [1, 3]}
    change(session, actors.bob_app, **given, authorized_at=utcnow() - timedelta(hours=1))
    look(app)
    look(app)
    assert told(session) == [("permissions_lacking", "bob"), ("permissions_lacking", "operator")]
    assert "基本信息设置" in session.scalars(sa.select(Notification.body)).first()
    change(session, actors.bob_app, authorized_at=utcnow())
    look(app)
    assert len(told(session)) == 4


def test_an_app_that_waits_to_be_claimed_is_told_once_the_browser_had_its_time(
    app: Flask, session: Session, actors: Actors, desk: None
) -> None:
    change(session, actors.alice_app, **AUTHORIZED, merchant_id=None, authorized_at=utcnow())
    look(app)
    assert told(session) == []
    change(session, actors.alice_app, authorized_at=utcnow() - timedelta(minutes=3))
    look(app)
    look(app)
    assert told(session) == [("unclaimed", "operator")]


def test_a_late_ticket_warns_at_thirty_minutes_alarms_at_sixty_and_begins_anew_with_the_next(
    app: Flask, session: Session, actors: Actors, desk: None
) -> None:
    owner = session.scalars(sa.select(ThirdPartyApp)).one()

    def levels() -> list[str]:
        look(app)
        look(app)
        refresh(session)
        return list(session.scalars(sa.select(Notification.level).order_by(Notification.id)))

    began = utcnow()
    for minutes, expected in ((29, []), (31, ["warn"]), (61, ["warn", "bad"])):
        change(session, owner, ticket_at=began - timedelta(minutes=minutes))
        if minutes == 61:  # the same ticket, half an hour later
            with writing():
                refresh(session)
                row = session.scalars(sa.select(Notification)).one()
                row.dedup = f"ticket_late:{owner.id}:warn:{owner.ticket_at.timestamp():.0f}"
                session.commit()
        assert levels() == expected
    change(session, owner, ticket_at=utcnow())
    assert levels() == ["warn", "bad"]
    change(session, owner, ticket_at=utcnow() - timedelta(minutes=31))
    assert levels() == ["warn", "bad", "warn"]


def test_an_app_that_is_out_of_use_or_was_only_just_entered_misses_no_ticket(
    app: Flask, session: Session, actors: Actors, desk: None
) -> None:
    owner = session.scalars(sa.select(ThirdPartyApp)).one()
    change(session, owner, ticket_at=None)
    look(app)
    assert told(session) == []
    change(session, owner, created_at=utcnow() - timedelta(hours=2), active=False)
    look(app)
    assert told(session) == []
    change(session, owner, active=True)
    look(app)
    assert told(session) == [("ticket_late", "operator")]


def run_of(actors: Actors, **given: Any) -> OperationRun:
    values = {
        "operation": "release",
        "subject_type": "mini_program",
        "subject_id": actors.alice_app.id,
        "door": Door.ROW,
        "mini_program_id": actors.alice_app.id,
        "merchant_id": actors.alice.id,
        "state": RunState.UNKNOWN,
        "lock_key": "x",
        "started_at": utcnow() - timedelta(minutes=6),
        "not_before": utcnow() + timedelta(hours=1),
    }
    return OperationRun(**(values | given))


def test_an_unknown_outcome_is_told_after_a_while_and_a_batch_as_one(
    app: Flask, session: Session, actors: Actors, desk: None
) -> None:
    with writing():
        refresh(session)
        session.add_all([run_of(actors), run_of(actors, started_at=utcnow()), run_of(actors, state=RunState.FAILED)])
        session.add_all([run_of(actors, batch_id="b" * 32) for _ in range(5)])
        session.commit()
    look(app)
    look(app)
    assert told(session) == [("run_unknown", "operator")] * 2
    first = session.scalars(sa.select(Notification).order_by(Notification.id)).first()
    assert first.subject_type == "operation_run" and "发布上线" in first.title


def test_a_failing_job_is_told_once_until_it_has_worked_again(
    app: Flask, session: Session, actors: Actors, desk: None
) -> None:
    def ran(outcome: str, ago: timedelta) -> None:
        with writing():
            refresh(session)
            at = utcnow() - ago
            session.add(
                JobRun(job="sync_info", slot=f"{at.timestamp()}", started_at=at, outcome=outcome, result="坏了")
            )
            session.commit()
        look(app)

    ran("ok", timedelta(hours=30))
    ran("failed", timedelta(hours=29))
    ran("failed", timedelta(hours=28))
    assert told(session) == [("job_failed", "operator")]
    ran("ok", timedelta(hours=5))
    ran("failed", timedelta(hours=4))
    assert len(told(session)) == 2
    assert "同步基本信息与授权" in session.scalars(sa.select(Notification.title)).first()


def test_the_look_has_a_slot_a_minute_and_the_sending_more_often() -> None:
    assert SCHEDULE["notices"].seconds == 60
    assert SCHEDULE["send_notices"].seconds <= 10


def test_a_mini_program_of_another_merchant_is_nobody_elses_news(
    app: Flask, session: Session, actors: Actors, desk: None
) -> None:
    given = {"state": AuthorizationState.AUTHORIZED, "permissions": []}
    for row in (actors.alice_app, actors.bob_app):
        change(session, row, **given, authorized_at=utcnow() - timedelta(hours=1))
    look(app)
    refresh(session)
    rows = session.execute(
        sa.select(User.first_name, MiniProgram.merchant_id)
        .join(Notification, Notification.user_id == User.id)
        .join(MiniProgram, MiniProgram.id == Notification.subject_id)
        .where(User.merchant_id.is_not(None))
    )
    assert {(name, merchant) for name, merchant in rows} == {("alice", actors.alice.id), ("bob", actors.bob.id)}

"""How the system is: each figure counts what it says, from its limit on, and nothing else."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.engine import writing
from app.extensions import db
from app.models import (
    ApiCall,
    AuthorizationState,
    Door,
    Heartbeat,
    InboundEvent,
    InboundState,
    OperationRun,
    RefusedPush,
    RunState,
    ThirdPartyApp,
)
from app.operations import vitals
from app.operations.vitals import Calls
from tests.conftest import Actors, change, refresh

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def put(session: Session, *rows: Any) -> None:
    with writing():
        refresh(session)
        session.add_all(rows)
        session.commit()
    refresh(session)


def call(ago: timedelta, outcome: str) -> ApiCall:
    return ApiCall(at=utcnow() - ago, name="x", method="POST", path="/x", outcome=outcome)


def run(state: RunState, due: timedelta, **given: Any) -> OperationRun:
    return OperationRun(
        operation="release",
        door=Door.ROW,
        state=state,
        subject_type="mini_program",
        subject_id=1,
        appid="tt",
        lock_key="x",
        not_before=utcnow() + due,
        **given,
    )


def push(owner: ThirdPartyApp, key: str, ago: timedelta, state: InboundState) -> InboundEvent:
    return InboundEvent(
        unique_key=key,
        event="PUSH",
        third_party_app_id=owner.id,
        receiver="message",
        state=state,
        received_at=utcnow() - ago,
    )


def test_the_database_is_asked_one_thing_and_its_time_is_in_milliseconds(session: Session) -> None:
    asked: list[str] = []
    listen = lambda _c, _cursor, statement, *_rest: asked.append(statement)  # noqa: E731
    sa.event.listen(db.engine, "before_cursor_execute", listen)
    try:
        found = vitals.latency(session)
    finally:
        sa.event.remove(db.engine, "before_cursor_execute", listen)
    assert sum(statement.startswith("SELECT") for statement in asked) == 1
    assert found > 0


# Workers.


def test_a_process_has_a_name_of_its_own() -> None:
    host, _, number = vitals.process_name().rpartition(":")
    assert host and number == str(os.getpid())


def test_a_beat_makes_one_row_and_the_next_renews_it(session: Session) -> None:
    started = utcnow() - HOUR
    for in_hand in (0, 3):
        before = utcnow()
        with writing():
            refresh(session)
            vitals.beat(session, started, in_hand=in_hand, size=16)
            session.commit()
        refresh(session)
        (row,) = session.scalars(sa.select(Heartbeat))
        assert (row.name, row.in_hand, row.size, row.started_at) == (vitals.process_name(), in_hand, 16, started)
        assert before <= row.seen_at
        with writing():
            row.seen_at = utcnow() - HOUR
            session.commit()


def test_workers_of_the_last_day_are_known_the_latest_first(session: Session) -> None:
    ages = {"old": DAY + MINUTE, "late": DAY - MINUTE, "new": MINUTE}
    put(session, *(Heartbeat(name=name, started_at=utcnow(), seen_at=utcnow() - ago) for name, ago in ages.items()))
    assert [row.name for row in vitals.workers(session)] == ["new", "late"]


# Queues.


def test_nothing_waits_where_nothing_was_asked_for(session: Session) -> None:
    assert vitals.queue(session) == vitals.Queue(0, None, None)


def test_runs_that_are_due_wait_and_the_oldest_is_known(session: Session) -> None:
    before = utcnow()
    put(
        session,
        run(RunState.QUEUED, -9 * MINUTE),
        run(RunState.QUEUED, -MINUTE),
        run(RunState.QUEUED, HOUR),
        run(RunState.RUNNING, -20 * MINUTE, started_at=utcnow() - 3 * MINUTE),
        run(RunState.SUCCEEDED, -30 * MINUTE, started_at=utcnow() - 5 * MINUTE),
    )
    found = vitals.queue(session)
    assert found.due == 2
    assert found.oldest is not None and before <= found.oldest + 9 * MINUTE <= utcnow()
    newest = session.scalars(sa.select(OperationRun.started_at).order_by(OperationRun.id.desc())).first()
    assert found.last_started == newest


# Pushes.


def test_pushes_are_counted_by_what_became_of_them(session: Session, third_party_app: ThirdPartyApp) -> None:
    assert vitals.pushes(session) == vitals.Pushes(None, 0, 0, 0, 0)
    states = [
        (2 * HOUR, InboundState.FAILED),
        (MINUTE, InboundState.RECEIVED),
        (MINUTE, InboundState.PROCESSING),
        (MINUTE, InboundState.DONE),
        (61 * MINUTE, InboundState.RECEIVED),
        (59 * MINUTE, InboundState.IGNORED),
    ]
    put(session, *(push(third_party_app, str(place), *state) for place, state in enumerate(states)))
    refused = (MINUTE, 59 * MINUTE, 61 * MINUTE)
    put(
        session,
        *(RefusedPush(id=place, number=place, at=utcnow() - ago, reason="x") for place, ago in enumerate(refused, 1)),
    )
    found = vitals.pushes(session)
    assert (found.hour, found.waiting, found.failed, found.refused) == (4, 3, 1, 2)
    assert found.last == session.scalar(sa.select(sa.func.max(InboundEvent.received_at)))


# Calls.


def test_calls_of_the_last_hour_are_counted_by_their_outcome(session: Session) -> None:
    assert vitals.calls(session) == Calls(0, 0, 0, None, "")
    outcomes = [
        (MINUTE, "timeout"),
        (2 * MINUTE, "ok"),
        (3 * MINUTE, "ok"),
        (4 * MINUTE, "error"),
        (5 * MINUTE, "broken"),
    ]
    put(session, *(call(*given) for given in [*outcomes, (61 * MINUTE, "ok")]))
    found = vitals.calls(session)
    assert (found.ok, found.error, found.silent, found.total, found.last_outcome) == (2, 1, 2, 5, "timeout")
    assert found.last == session.scalar(sa.select(sa.func.max(ApiCall.at)))


@pytest.mark.parametrize(("outcome", "reachable"), [("", True), ("ok", True), ("error", True), ("timeout", False)])
def test_douyin_is_within_reach_when_it_answered_the_latest_call(outcome: str, reachable: bool) -> None:
    assert Calls(0, 0, 0, None, outcome).reachable is reachable


def test_the_hours_of_a_day_end_with_this_one(session: Session) -> None:
    now = utcnow().replace(minute=0, second=0, microsecond=0)
    put(
        session,
        *(ApiCall(at=now - back * HOUR, name="x", method="GET", path="/", outcome="ok") for back in (0, 0, 5, 24)),
    )
    starts, found = vitals.calls_by_hour(session)
    assert (starts[0], starts[-1], len(starts)) == (now - 23 * HOUR, now, 24)
    assert found == {"ok": [*[0] * 18, 1, *[0] * 4, 2], "error": [0] * 24, "silent": [0] * 24}


# Credentials.


def test_the_third_party_apps_in_use_are_those_whose_tickets_count(session: Session, actors: Actors) -> None:
    (row,) = vitals.tickets(session)
    change(session, row, active=False)
    assert vitals.tickets(session) == []


@pytest.mark.parametrize(("days", "place"), [(6, 0), (8, 1), (13, 1), (15, 2), (29, 2), (31, 3)])
def test_an_authorisation_counts_by_how_long_it_lasts(session: Session, actors: Actors, days: int, place: int) -> None:
    change(session, actors.alice_app, state=AuthorizationState.AUTHORIZED, refresh_expires_at=utcnow() + days * DAY)
    found = vitals.tokens(session)
    assert found.ages == [int(place == at) for at in range(4)]
    assert (found.faulty, found.unknown) == (0, 0)


def test_lost_and_unclaimed_authorisations_do_not_count_and_faults_and_unknown_ends_do(
    session: Session, actors: Actors
) -> None:
    soon = utcnow() + DAY
    change(session, actors.alice_app, state=AuthorizationState.REVOKED, refresh_expires_at=soon, token_fault="x")
    change(session, actors.bob_app, state=AuthorizationState.AUTHORIZED, refresh_expires_at=soon, merchant_id=None)
    assert vitals.tokens(session) == vitals.Tokens([0, 0, 0, 0], 0, 0)
    change(session, actors.alice_app, state=AuthorizationState.AUTHORIZED, refresh_expires_at=None)
    assert vitals.tokens(session) == vitals.Tokens([0, 0, 0, 0], 1, 1)


# Sizes.


def test_the_size_of_the_database_is_in_bytes_and_its_product_has_a_name(session: Session) -> None:
    assert (vitals.database_size(session) or 0) > 100_000
    product, _, version = vitals.server_version(session).partition(" ")
    assert product in {"SQLite", "PostgreSQL", "MySQL", "MariaDB"}
    assert version.split(".")[0].isdigit()


def test_rows_are_counted_for_each_table_of_ours_the_greatest_first(session: Session, actors: Actors) -> None:
    put(session, *(call(MINUTE, "ok") for _ in range(30)))
    found = vitals.table_rows(session)
    assert {name for name, _ in found} == {table.name for table in ThirdPartyApp.metadata.sorted_tables}
    assert [count for _, count in found] == sorted((count for _, count in found), reverse=True)
    if session.get_bind().dialect.name != "sqlite":
        return  # the servers' estimates come with their next analysis
    known = dict(found)
    assert (known["api_call"], known["merchant"], known["refused_push"], known["web_session"]) == (30, 2, 0, 0)

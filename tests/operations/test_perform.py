"""One run, by itself: what each fault makes of it, with HTTP faked at the socket and all of our own real."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.tenancy import PLATFORM, app_scope
from app.douyin.development import ReleaseVersion
from app.errors import Refused, TooSoon
from app.link import connection
from app.models import Circuit, MiniProgram, OperationRun, RunState, ThirdPartyApp
from app.operations import perform
from app.operations.perform import MAX_ATTEMPTS, LeasedDouyin, LeaseLost
from app.operations.proof import Work
from tests.conftest import change, try_again
from tests.operations.toy import (
    PROOF,
    REFUSED_CONNECTION,
    SILENCE,
    Answer,
    Bench,
    F,
    Q,
    Register,
    S,
    U,
    go_live,
    live,
    no,
    seen,
)

# The table: what Douyin answers to the change, what a look then shows -> state, calls that changed, words


@pytest.mark.parametrize(
    ("answer", "then", "state", "err_no", "evidence"),
    [
        ({"err_no": 0}, "1.0.0", S, None, True),
        (no(40001), "1.0.0", F, 40001, True),  # a wrong parameter: nothing more to do
        (no(11402), "1.0.0", F, 11402, True),  # a wrong state, and the goal does not stand
        (no(11402), "2.0.0", S, None, True),  # the only call was refused: the goal is somebody else's doing
        (no(11401), "1.0.0", F, 11401, True),
        (no(10107), "1.0.0", F, 10107, True),  # banned
        (no(10107), "2.0.0", F, 10107, True),  # of which no look would tell more
        (no(28001018), "1.0.0", F, 28001018, True),  # without the permission
        (no(28001056), "1.0.0", F, 28001056, True),  # the call was retired: this operation alone
        (no(28003018), "1.0.0", Q, 28003018, False),  # too often: later
        (no(11400), "1.0.0", Q, 11400, False),  # Douyin's own fault: later
        (no(28003017), "1.0.0", F, 28003017, True),  # the quota is used up
        (no(40006), "1.0.0", Q, 40006, False),  # our address: the whole third-party app waits
        (no(777), "1.0.0", F, 777, True),  # a code that nobody knows
        (SILENCE, "1.0.0", U, None, True),
        (502, "1.0.0", U, None, True),
        ({"nothing": 1}, "1.0.0", U, None, True),  # no envelope: it may have had its effect
        (REFUSED_CONNECTION, "1.0.0", Q, None, False),  # it never left
    ],
)
def test_what_an_answer_makes_of_a_run(
    bench: Bench, answer: Answer, then: str, state: RunState, err_no: int | None, evidence: bool
) -> None:
    bench.wire.changes, bench.wire.looks = [answer], [live("1.0.0"), live(then)]
    run = bench.go()
    assert (run.state, run.err_no) == (state, err_no), run.message
    assert (run.evidence is not None) is evidence
    assert (run.lock is not None) is (state == U)
    assert bench.wire.changed == 1


@pytest.mark.parametrize(
    ("shown", "state", "changed"),
    [("2.0.0", S, 1), ("1.0.0", Q, 1), (SILENCE, U, 1), (no(28001005), U, 1), (no(40022), F, 1), (no(28001018), U, 1)],
)
def test_what_a_look_makes_of_a_run_that_got_no_answer(
    bench: Bench, shown: Answer, state: RunState, changed: int
) -> None:
    bench.wire.changes = [SILENCE]
    assert bench.go().state == U
    bench.wire.looks = [live(shown) if isinstance(shown, str) else shown]
    assert bench.again().state == state
    assert bench.wire.changed == changed


def test_what_was_not_done_is_sent_again_once(bench: Bench) -> None:
    bench.wire.changes = [SILENCE, {"err_no": 0}]
    bench.go()
    assert bench.again().state == Q
    assert bench.again().state == S
    assert bench.wire.changed == 2


def test_a_refused_call_claims_nothing_that_somebody_else_did(bench: Bench) -> None:
    bench.wire.changes, bench.wire.looks = [no(11402)], [live("1.0.0"), live("2.0.0")]
    assert bench.go().result["already"] is True


def test_a_refused_second_call_is_read_back_for_the_first(bench: Bench) -> None:
    bench.wire.changes = [SILENCE, no(11402)]
    bench.go()
    assert bench.again().state == Q
    bench.wire.looks = [live("1.0.0"), live("1.0.0"), SILENCE, SILENCE, SILENCE]
    assert bench.again().state == U
    connection.breaker(bench.app).forget()
    with app_scope(bench.app, PLATFORM) as session:
        session.execute(sa.delete(Circuit))
        session.commit()
    bench.wire.looks = [live("2.0.0")]
    run = bench.again()
    assert (run.state, "already" in run.result, bench.wire.changed) == (S, False, 2)


def test_a_lost_call_is_remembered_when_the_next_is_refused_for_a_while(bench: Bench) -> None:
    bench.wire.changes = [SILENCE, no(28003018)]
    bench.go()
    bench.again()
    assert bench.again().state == Q
    bench.wire.looks = [live("2.0.0")]
    run = bench.again()
    assert (run.state, "already" in run.result, bench.wire.changed) == (S, False, 2)


def test_what_an_older_release_left_unknown_is_asked_about_and_never_sent_again(bench: Bench) -> None:
    bench.wire.changes = [SILENCE]
    bench.go()
    change(bench.session, bench.run, evidence=None)
    run = bench.again()
    assert (run.state, "核对" in run.advice, bench.wire.changed) == (U, True, 1)


def test_a_fault_of_ours_while_reading_back_is_given_to_a_person(bench: Bench) -> None:
    bench.wire.changes = [SILENCE]
    bench.go()
    change(bench.session, bench.run, evidence={**(bench.run.evidence or {}), "wanted": {}})
    run = bench.again()
    assert (run.state, "KeyError" in run.message, bool(run.advice)) == (U, True, True)


def test_looks_outside_the_contract_use_up_no_attempt(bench: Bench) -> None:
    bench.wire.looks = [{"err_no": 0, "data": []}]
    for _ in range(MAX_ATTEMPTS + 1):
        run = bench.again()
        assert (run.state, run.attempts) == (Q, 0)


def test_a_late_effect_is_found_before_it_is_sent_again(bench: Bench) -> None:
    bench.wire.changes = [SILENCE]
    bench.go()
    assert bench.again().state == Q
    bench.wire.looks = [live("2.0.0")]
    assert bench.again().state == S
    assert bench.wire.changed == 1


def test_a_look_that_fails_after_the_change_was_accepted_never_sends_it_twice(bench: Bench, register: Register) -> None:
    def with_a_look_afterwards(row: Any, work: Work, params: Any) -> Mapping[str, Any]:
        go_live(row, work, params)
        return seen(row, work, params).facts

    bench.ask(register(with_a_look_afterwards))
    bench.wire.looks = [live("1.0.0"), no(28001005)]
    assert bench.go().state == U
    bench.wire.looks = [live("2.0.0")]
    assert bench.again().state == S
    assert bench.wire.changed == 1


def test_a_goal_that_stands_is_not_sent_for(bench: Bench) -> None:
    bench.wire.looks = [live("2.0.0")]
    run = bench.go()
    assert (run.state, run.result.get("already"), bench.wire.changed) == (S, True, 0)


def test_a_silent_look_before_the_change_leaves_nothing_to_read_back(bench: Bench) -> None:
    bench.wire.looks = [SILENCE]
    run = bench.go()
    assert (run.state, run.lock, bench.wire.changed) == (Q, None, 0)


# When nothing may be sent


def test_a_run_of_the_future_sends_nothing(bench: Bench) -> None:
    change(bench.session, bench.run, not_before=utcnow() + timedelta(minutes=1))
    assert perform.perform(bench.app, bench.run_id) is False
    assert (bench.run.state, bench.wire.looked) == (Q, 0)


def test_a_change_without_an_intent_is_not_sent(bench: Bench, register: Register) -> None:
    def blind(_row: Any, work: Work, _params: Any) -> Mapping[str, Any]:
        work.douyin.send(ReleaseVersion())
        return {}

    bench.ask(register(blind))
    run = bench.go()
    assert (run.state, "未发送" in run.message, bench.wire.changed) == (F, True, 0)


def test_rows_changed_before_the_call_are_a_fault_of_ours(bench: Bench, register: Register) -> None:
    def hasty(row: Any, work: Work, _params: Any) -> Mapping[str, Any]:
        sight = work.look()
        work.intend(sight, version="2.0.0")
        row.name = "改了"
        work.douyin.send(ReleaseVersion())
        return {}

    bench.ask(register(hasty))
    assert (bench.go().state, bench.wire.changed) == (U, 0)


def test_no_change_is_sent_in_the_last_seconds_of_the_lease(app: Flask, session: Session, bench: Bench) -> None:
    leased = LeasedDouyin(session, None, seconds=2.0, timeout=2.0)
    leased.work = Work(session, bench.run, leased, PROOF, print, intended=True)
    with pytest.raises(LeaseLost):
        leased.send(ReleaseVersion())


def test_a_lost_lease_leaves_the_run_to_be_read_back(bench: Bench, register: Register) -> None:
    def slow(row: Any, work: Work, params: Any) -> Mapping[str, Any]:
        work.douyin._deadline = 0.0
        return go_live(row, work, params)

    bench.ask(register(slow))
    assert (bench.go().state, bench.wire.changed) == (RunState.RUNNING, 0)
    change(bench.session, bench.run, lease_until=utcnow() - timedelta(seconds=1))
    assert bench.go().state == Q


def test_a_late_outcome_of_a_worker_thought_dead_writes_nothing(bench: Bench) -> None:
    def taken_over() -> Answer:
        with app_scope(bench.app, PLATFORM) as session:
            session.execute(sa.update(OperationRun).values(owner="another"))
            session.commit()
        return {"err_no": 0}

    bench.wire.changes = [taken_over]
    run = bench.go()
    assert (run.state, run.owner, run.result) == (RunState.RUNNING, "another", {})


def test_what_is_too_soon_waits_without_using_up_an_attempt(desk: Bench, register: Register) -> None:
    def eager(_row: Any, _work: Work, _params: Any) -> Mapping[str, Any]:
        raise TooSoon("再等等", seconds=30)

    desk.ask(register(eager))
    before = utcnow()
    run = desk.go()
    assert (run.state, run.attempts) == (Q, 0)
    assert before <= run.not_before - timedelta(seconds=30) <= utcnow()


# Rows that change under us, rows that are gone, faults of ours


def meddle(bench: Bench) -> None:
    with app_scope(bench.app, PLATFORM) as session:
        session.get_one(MiniProgram, bench.row.id).remarks = "别人改的"
        session.commit()


def test_a_row_that_changed_before_the_call_begins_anew(bench: Bench, register: Register) -> None:
    def touching(row: Any, work: Work, _params: Any) -> Mapping[str, Any]:
        sight = work.look()
        meddle(bench)
        row.remarks = "我们改的"
        work.intend(sight, version="2.0.0")
        return {}

    bench.ask(register(touching))
    run = bench.go()
    assert (run.state, run.attempts, bench.wire.changed) == (Q, 0, 0)


def test_a_row_that_changed_after_the_call_is_read_back_at_once(bench: Bench, register: Register) -> None:
    def touching(row: Any, work: Work, params: Any) -> Mapping[str, Any]:
        result = go_live(row, work, params)
        meddle(bench)
        row.remarks = "我们改的"
        return result

    bench.ask(register(touching))
    run = bench.go()
    assert (run.state, run.not_before <= utcnow()) == (U, True)
    bench.wire.looks = [live("2.0.0")]
    assert bench.go().state == S
    assert bench.wire.changed == 1


@pytest.mark.parametrize(("sent", "state"), [(False, F), (True, U)])
def test_a_fault_of_ours_ends_a_run_unless_something_was_sent(
    bench: Bench, register: Register, sent: bool, state: RunState
) -> None:
    def broken(row: Any, work: Work, params: Any) -> Mapping[str, Any]:
        if sent:
            go_live(row, work, params)
        raise ZeroDivisionError

    bench.ask(register(broken))
    run = bench.go()
    assert (run.state, "ZeroDivisionError" in run.message) == (state, True)


def test_our_own_refusal_is_the_outcome(desk: Bench, register: Register) -> None:
    def strict(_row: Any, _work: Work, _params: Any) -> Mapping[str, Any]:
        raise Refused("不行", field="version")

    desk.ask(register(strict))
    run = desk.go()
    assert (run.state, run.message, run.error_kind) == (F, "不行", "parameter")


def test_a_run_whose_row_is_gone_fails(desk: Bench) -> None:
    change(desk.session, desk.run, subject_id=10_000_000)
    assert desk.go().message == "对象已不存在"


# Attempts


def test_faults_of_the_third_party_app_use_up_no_attempt(bench: Bench) -> None:
    for _ in range(MAX_ATTEMPTS + 1):
        bench.wire.changes, bench.wire.looks = [no(40006)], [live("1.0.0")]
        run = bench.again()
        assert (run.state, run.attempts, run.hold) == (Q, 0, f"app:{bench.row.third_party_app.id}")
        with app_scope(bench.app, PLATFORM) as session:
            session.execute(sa.update(ThirdPartyApp).values(held="", fault=""))
            session.commit()
        connection.breaker(bench.app).forget()
    bench.wire.changes = [{"err_no": 0}]
    assert bench.again().state == S


def test_a_connection_that_is_always_refused_ends_after_many_attempts(bench: Bench) -> None:
    change(bench.session, bench.run, attempts=MAX_ATTEMPTS - 1)
    bench.wire.changes = [REFUSED_CONNECTION]
    assert bench.go().state == F


def test_what_never_has_an_effect_ends_after_many_attempts(bench: Bench) -> None:
    change(bench.session, bench.run, attempts=MAX_ATTEMPTS - 1)
    bench.wire.changes = [SILENCE]
    assert bench.go().state == U
    assert bench.again().state == F


def test_what_waits_for_a_hold_is_let_go_on_by_its_end(bench: Bench) -> None:
    bench.wire.changes = [no(40006), {"err_no": 0}]
    assert bench.go().hold
    with app_scope(bench.app, PLATFORM) as session:
        assert perform.due(session, 10) == []
    try_again(bench.app)
    run = bench.run
    assert (run.hold, run.not_before <= utcnow()) == ("", True)
    assert bench.go().state == S


# The end of an authorisation


def test_a_read_back_of_an_app_whose_authorisation_ended_ends_with_a_sentence(bench: Bench) -> None:
    bench.wire.changes = [SILENCE]
    bench.go()
    change(bench.session, bench.session.get_one(MiniProgram, bench.row.id), state="revoked")
    run = bench.again()
    assert (run.state, "授权" in run.message) == (F, True)


def test_an_app_in_doubt_is_not_called(bench: Bench) -> None:
    change(bench.session, bench.session.get_one(MiniProgram, bench.row.id), held_at=utcnow())
    run = bench.go()
    assert (run.state, run.attempts, bench.wire.looked) == (Q, 0, 0)
    assert run.hold == f"mini_program:{bench.row.id}"

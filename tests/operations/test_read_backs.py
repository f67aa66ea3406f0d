"""What a run holds after each look, before and after a second sending, to the second and the word; the engine's clock stands still."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.orm.exc import StaleDataError

from app.data.tenancy import PLATFORM, app_scope
from app.douyin.development import ReleaseVersion
from app.douyin.errors import CODES
from app.errors import Refused
from app.models import MiniProgram, OperationRun, RunState
from app.operations import perform
from app.operations.perform import MAX_ATTEMPTS
from app.operations.proof import ALREADY, Settlement, Sight, Verdict, Work, event
from tests.conftest import change
from tests.operations.toy import (
    SILENCE,
    Answer,
    Bench,
    F,
    Logged,
    Q,
    Register,
    S,
    U,
    go_live,
    live,
    lost,
    no,
    row_of,
)

R = RunState.RUNNING


def sent_again(bench: Bench, answer: Answer) -> None:
    """A lost call was read back as not done; the next sending gets this answer."""
    lost(bench)
    assert bench.again().state == Q
    bench.wire.changes = [answer]


# What a look leaves behind


@pytest.mark.parametrize(
    ("shown", "state", "seconds", "settles", "words"),
    [
        (SILENCE, U, 10, 1, ""),
        (no(28001005), U, 30, 1, ""),
        (no(28003018), U, 60, 1, ""),
        (no(40001), U, 60, 1, ""),  # of no person's concern: looked again
        (no(28001018), U, 3600, 1, "无法核实结果"),
        (no(40006), U, 60, 0, ""),
        (no(40022), F, None, 1, "核实结果时授权已失效"),
        (live("1.0.0"), Q, 0, 1, "已核实上次提交未生效，重新提交"),
        (live("2.0.0"), S, None, 1, "已核实：「试验」已完成"),
    ],
)
def test_how_long_a_run_waits_after_a_look(
    bench: Bench, still: datetime, shown: Answer, state: RunState, seconds: int | None, settles: int, words: str
) -> None:
    lost(bench, not_before=still)
    bench.wire.looks = [shown]
    run = bench.go()
    assert row_of(run, "state", "settles") == {"state": state, "settles": settles}, run.message
    if seconds is not None:
        assert run.not_before == still + timedelta(seconds=seconds)
    assert run.message.startswith(words)
    assert run.message
    if state == U:
        assert (run.lock is not None, run.lease_until, run.finished_at) == (True, None, None)
        assert bool(run.advice) is (seconds == 3600)
        assert run.hold == (f"app:{run.third_party_app_id}" if settles == 0 else "")
    if state == F:
        assert run.error_kind == "state"


def test_a_look_that_needs_an_authorisation_says_what_to_do(bench: Bench) -> None:
    lost(bench)
    bench.wire.looks = [no(40022)]
    assert bench.again().message == f"核实结果时授权已失效：{CODES[40022].advice}"


@pytest.mark.parametrize(("settles", "seconds"), [(1, 10), (2, 20), (6, 320), (7, 320), (2000, 320)])
def test_silent_looks_are_made_ever_more_rarely(bench: Bench, still: datetime, settles: int, seconds: int) -> None:
    lost(bench, settles=settles - 1, not_before=still)
    bench.wire.looks = [SILENCE]
    run = bench.go()
    assert (run.state, run.not_before) == (U, still + timedelta(seconds=seconds))


def test_a_read_back_of_an_app_in_doubt_waits_without_counting(bench: Bench, still: datetime) -> None:
    lost(bench, not_before=still, settles=5)
    row = bench.session.get_one(MiniProgram, bench.row.id)
    change(bench.session, row, held_at=still)
    run = bench.go()
    assert row_of(run, "state", "hold", "settles") == {"state": U, "hold": f"mini_program:{row.id}", "settles": 5}
    assert (run.not_before, bool(run.message)) == (still + timedelta(seconds=60), True)


def test_what_never_has_an_effect_is_given_up_with_the_last_attempt(bench: Bench, still: datetime) -> None:
    lost(bench, attempts=MAX_ATTEMPTS - 1, not_before=still)
    assert bench.go().state == Q
    change(bench.session, bench.run, state=U, attempts=MAX_ATTEMPTS)
    assert bench.go().message == "多次提交都没有生效：请稍后重试或联系抖音客服"


def proof_of(verdict: Settlement, **options: Any) -> Any:
    return event(lambda *_: Sight({}), happened=lambda *_: verdict, take=lambda *_: {"taken": True}, **options)


@pytest.mark.parametrize(
    ("settled", "state", "message", "kind", "seconds"),
    [
        (Settlement(Verdict.DONE, "做好了"), S, "做好了", "", None),
        (Settlement(Verdict.ALREADY, ALREADY), S, ALREADY, "", None),
        (Settlement(Verdict.OVER, "来不及了"), F, "来不及了", "state", None),
        (Settlement(Verdict.WAIT, "再看看", wait=45.0), U, "再看看", "", 45),
        (Settlement(Verdict.WAIT, "再看看"), U, "再看看", "", 30),
        (Settlement(Verdict.ASK, "看不出来"), U, "看不出来", "", 3600),
    ],
)
def test_what_a_verdict_makes_of_a_run(
    bench: Bench,
    register: Register,
    still: datetime,
    settled: Settlement,
    state: RunState,
    message: str,
    kind: str,
    seconds: int | None,
) -> None:
    register(go_live, proof=proof_of(settled))
    lost(bench, not_before=still)
    run = bench.go()
    assert row_of(run, "state", "message", "error_kind") == {"state": state, "message": message, "error_kind": kind}
    if seconds:
        assert run.not_before == still + timedelta(seconds=seconds)
    already = {"already": True} if settled.verdict is Verdict.ALREADY else {}
    assert run.result == ({"taken": True} | already if state == S else {})
    assert bool(run.advice) is (settled.verdict is Verdict.ASK)


def test_a_row_that_changed_during_a_read_back_is_read_back_a_second_later(
    bench: Bench, register: Register, still: datetime
) -> None:
    lost(bench, not_before=still)

    def stale(*_: Any) -> Sight:
        raise StaleDataError

    register(go_live, proof=event(stale, happened=lambda *_: Settlement(Verdict.DONE), take=lambda *_: {}))
    run = bench.go()
    assert row_of(run, "state", "message") == {"state": U, "message": "记录在核实期间被更新，稍后再核实"}
    assert (run.not_before, run.advice, run.settles) == (still + timedelta(seconds=1), "", 1)


def test_a_fault_of_ours_while_reading_back_is_logged_and_asked_about_for_an_hour(
    bench: Bench, register: Register, still: datetime
) -> None:
    lost(bench, not_before=still)

    def broken(*_: Any) -> Sight:
        raise ZeroDivisionError

    register(go_live, proof=event(broken, happened=lambda *_: Settlement(Verdict.DONE), take=lambda *_: {}))
    with Logged() as lines:
        run = bench.go()
    assert run.message == "内部错误（ZeroDivisionError），无法自动核实结果"
    assert (run.state, bool(run.advice), run.not_before) == (U, True, still + timedelta(hours=1))
    assert ("read_back_fault", run.id, "go_live") in lines()


def test_an_unknown_outcome_of_an_older_release_says_why_it_is_asked_about(bench: Bench, still: datetime) -> None:
    lost(bench, not_before=still, evidence=None)
    run = bench.go()
    assert run.message == "发送时没有留下调用前的状态，无法自动核实"
    assert (run.state, run.not_before) == (U, still + timedelta(hours=1))


@pytest.mark.parametrize("state", [U, R])
def test_an_operation_that_only_reads_is_simply_done_again(
    desk: Bench, register: Register, still: datetime, state: RunState
) -> None:
    def reading(_row: Any, _work: Work, _params: Any) -> None:
        """Nothing to prove."""

    desk.ask(register(reading, mutates=False, proof=None))
    past = still - timedelta(seconds=1)
    change(desk.session, desk.run, state=state, lock=desk.run.lock_key, lease_until=past, not_before=past)
    run = desk.go()
    assert (run.state, run.lock, run.lease_until) == (Q, None, None)
    assert desk.go().state == S


# Before and after a second sending


@dataclass(frozen=True)
class Given:
    """What a toy operation is given."""

    version: str = "2.0.0"


def test_every_look_is_for_the_row_and_what_was_given(bench: Bench, register: Register) -> None:
    """The look before each sending, the read-back, the one before the second sending, the one after its refusal."""
    looks: list[tuple[Any, ...]] = []
    row_id = bench.row.id

    def look(row: Any, work: Work, params: Any) -> Sight:
        looks.append((row.id, work.run.id, params))
        return Sight({})

    def versioned(row: Any, work: Work, params: Any) -> None:
        assert (row.id, params) == (row_id, Given())
        work.intend(work.look())
        work.douyin.send(ReleaseVersion())

    never = event(look, happened=lambda *_: Settlement(Verdict.NOT_DONE), take=lambda *_: {})
    bench.ask(register(versioned, params=Given, proof=never))
    sent_again(bench, no(11402))
    assert bench.again().state == F
    assert looks == [(row_id, bench.run_id, Given())] * 5


def test_while_a_look_is_held_nothing_is_sent_a_second_time(bench: Bench, register: Register, still: datetime) -> None:
    asked = []

    def twice(row: Any, work: Work, params: Any) -> Mapping[str, Any]:
        asked.append(1)
        return go_live(row, work, params)

    bench.ask(register(twice))
    lost(bench)
    assert bench.again().state == Q
    bench.wire.looks = [no(40006)]
    run = bench.again()
    names = ("state", "hold", "attempts")
    assert tuple(row_of(run, *names).values()) == (Q, f"app:{run.third_party_app_id}", 1)
    assert (run.not_before, len(asked)) == (still + timedelta(seconds=60), 1)
    assert run.evidence is not None
    assert run.evidence["calls"] == 1


@pytest.mark.parametrize(("shown", "state"), [(live("2.0.0"), S), (SILENCE, U)])
def test_what_a_look_settles_is_not_begun_again(
    bench: Bench, register: Register, shown: Answer, state: RunState
) -> None:
    asked = []

    def twice(row: Any, work: Work, params: Any) -> Mapping[str, Any]:
        asked.append(1)
        return go_live(row, work, params)

    bench.ask(register(twice))
    lost(bench)
    assert bench.again().state == Q
    bench.wire.looks = [shown]
    assert (bench.again().state, len(asked), bench.wire.changed) == (state, 1, 1)


def test_a_look_that_is_refused_before_the_second_sending_is_not_looked_into(bench: Bench) -> None:
    lost(bench)
    assert bench.again().state == Q
    bench.wire.looks = [live("1.0.0"), no(11402), live("2.0.0")]
    assert row_of(bench.again(), "state", "err_no") == {"state": F, "err_no": 11402}
    assert bench.wire.changed == 1


def test_a_refused_goal_that_stands_is_told_as_nobodys_doing(bench: Bench) -> None:
    bench.wire.changes, bench.wire.looks = [no(11402)], [live("1.0.0"), live("2.0.0")]
    run = bench.go()
    assert row_of(run, "state", "message", "result") == {
        "state": S,
        "message": ALREADY,
        "result": {"version": "2.0.0", "already": True},
    }


@pytest.mark.parametrize(
    ("verdict", "state", "err_no"),
    [(Verdict.DONE, U, None), (Verdict.ALREADY, U, None), (Verdict.NOT_DONE, F, 11402), (Verdict.ASK, F, 11402)],
)
def test_a_refused_event_that_seems_to_have_happened_is_asked_about(
    bench: Bench, register: Register, verdict: Verdict, state: RunState, err_no: int | None
) -> None:
    register(go_live, proof=proof_of(Settlement(verdict)))
    bench.wire.changes = [no(11402)]
    run = bench.go()
    assert (run.state, run.err_no, bool(run.advice)) == (state, err_no, True)
    assert run.message.startswith("抖音拒绝了本次请求") is (state == U)


def test_a_wrong_parameter_of_an_event_is_not_looked_into(bench: Bench, register: Register) -> None:
    register(go_live, proof=proof_of(Settlement(Verdict.DONE)))
    bench.wire.changes = [no(40001)]
    assert row_of(bench.go(), "state", "err_no") == {"state": F, "err_no": 40001}


def test_a_wrong_parameter_of_a_goal_is_looked_into(bench: Bench) -> None:
    bench.wire.changes, bench.wire.looks = [no(40001)], [live("1.0.0"), live("2.0.0")]
    assert row_of(bench.go(), "state", "err_no") == {"state": S, "err_no": None}


@pytest.mark.parametrize(
    ("settled", "state", "err_no", "message"),
    [
        (Settlement(Verdict.DONE, "做好了"), S, None, "做好了"),
        (Settlement(Verdict.ASK, "看不出来"), U, None, "看不出来"),
        (Settlement(Verdict.WAIT, "再看看"), U, None, "再看看"),
        (Settlement(Verdict.NOT_DONE), F, 11402, ""),
        (Settlement(Verdict.OVER, "来不及了"), F, 11402, ""),
    ],
)
def test_a_refused_second_call_is_settled_by_the_look_after_it(
    bench: Bench, register: Register, settled: Settlement, state: RunState, err_no: int | None, message: str
) -> None:
    verdicts = [Settlement(Verdict.NOT_DONE)] * 3 + [settled]
    happened = lambda *_: verdicts.pop(0)  # noqa: E731
    register(go_live, proof=event(lambda *_: Sight({}), happened=happened, take=lambda *_: {}))
    sent_again(bench, no(11402))
    run = bench.again()
    assert row_of(run, "state", "err_no") == {"state": state, "err_no": err_no}
    assert run.message.startswith(message)
    assert bench.wire.changed == 2


def test_a_refused_second_call_waits_while_its_look_is_held(bench: Bench, still: datetime) -> None:
    sent_again(bench, no(11402))
    bench.wire.looks = [live("1.0.0"), live("1.0.0"), no(40006)]
    run = bench.again()
    assert (run.state, bool(run.message), run.not_before) == (U, True, still + timedelta(seconds=30))


def test_a_refused_only_call_stays_refused_while_its_look_is_held(bench: Bench) -> None:
    bench.wire.changes, bench.wire.looks = [no(11402)], [live("1.0.0"), no(40006)]
    assert row_of(bench.go(), "state", "err_no") == {"state": F, "err_no": 11402}


# A person's word


@pytest.mark.parametrize(("done", "state", "word"), [(True, S, "已完成"), (False, F, "未完成")])
def test_a_persons_word_ends_an_unknown_outcome(
    bench: Bench, still: datetime, done: bool, state: RunState, word: str
) -> None:
    lost(bench)
    with app_scope(bench.app, PLATFORM) as session:
        perform.resolve(session, session.get_one(OperationRun, bench.run_id), done=done, actor_name="王五")
    run = bench.run
    assert row_of(run, "state", "lock", "finished_at") == {"state": state, "lock": None, "finished_at": still}
    assert run.message == f"王五 人工标记为{word}"


@pytest.mark.parametrize("state", [Q, R, S, F])
def test_a_persons_word_changes_no_other_outcome(desk: Bench, state: RunState) -> None:
    change(desk.session, desk.run, state=state, message="从前的")
    with app_scope(desk.app, PLATFORM) as session, pytest.raises(Refused, match="可以人工标记"):
        perform.resolve(session, session.get_one(OperationRun, desk.run_id), done=True, actor_name="王五")
    assert row_of(desk.run, "state", "message") == {"state": state, "message": "从前的"}

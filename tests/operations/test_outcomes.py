"""What a run holds after each outcome, to the second and the word; the engine's clock stands still."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.orm.exc import StaleDataError

from app.errors import DouyinError, ErrorKind, Held, NoAnswer, NotGranted, Refused, TooSoon
from app.models import RunState
from app.operations.perform import MAX_ATTEMPTS
from app.operations.proof import Work
from tests.conftest import change
from tests.operations.toy import (
    REFUSED_CONNECTION,
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
    no,
    row_of,
)

# What Douyin's answers leave behind


@pytest.mark.parametrize(
    ("answer", "state", "seconds", "attempts", "kind", "advised"),
    [
        (no(40001), F, None, 1, "parameter", True),
        (no(28003018), Q, 60, 1, "rate", True),
        (no(40006), Q, 60, 0, "platform", True),
        (REFUSED_CONNECTION, Q, 4, 1, "", False),
        (SILENCE, U, 7, 1, "", False),
    ],
)
def test_how_long_a_run_waits_after_an_answer(
    bench: Bench,
    still: datetime,
    answer: Answer,
    state: RunState,
    seconds: int | None,
    attempts: int,
    kind: str,
    advised: bool,
) -> None:
    bench.wire.changes = [answer]
    change(bench.session, bench.run, err_no=1, advice="从前的", error_kind="state")
    run = bench.go()
    assert row_of(run, "state", "attempts", "settles") == {"state": state, "attempts": attempts, "settles": 0}
    assert (run.lease_until, run.finished_at) == (None, still if state == F else None)
    if seconds is not None:
        assert run.not_before == still + timedelta(seconds=seconds)
    if state != U:
        assert (run.error_kind, bool(run.advice)) == (kind, advised)
    assert run.message
    code = answer["err_no"] if isinstance(answer, dict) else None
    assert run.err_no == (1 if state == U else code)
    assert run.log_id == ("L-1" if code else "")
    assert run.hold == (f"app:{run.third_party_app_id}" if kind == "platform" else "")


def test_a_success_leaves_nothing_of_earlier_refusals(bench: Bench, still: datetime) -> None:
    change(bench.session, bench.run, err_no=1, advice="从前的", error_kind="state", message="从前的")
    run = bench.go()
    assert row_of(run, "state", "result", "message", "lock", "finished_at") == {
        "state": S,
        "result": {"done": True},
        "message": "",
        "lock": None,
        "finished_at": still,
    }
    assert row_of(run, "err_no", "advice", "error_kind", "lease_until") == {
        "err_no": None,
        "advice": "",
        "error_kind": "",
        "lease_until": None,
    }


@pytest.mark.parametrize(("attempts", "seconds"), [(1, 60), (2, 90), (5, 240), (7, 240)])
def test_what_came_too_often_waits_longer_each_time_up_to_four_times_as_long(
    bench: Bench, still: datetime, attempts: int, seconds: float
) -> None:
    change(bench.session, bench.run, attempts=attempts - 1)
    bench.wire.changes = [no(28003018)]
    run = bench.go()
    assert (run.state, run.attempts, run.not_before) == (Q, attempts, still + timedelta(seconds=seconds))


def test_what_comes_too_often_fails_with_the_last_attempt(bench: Bench) -> None:
    change(bench.session, bench.run, attempts=MAX_ATTEMPTS - 1)
    bench.wire.changes = [no(28003018)]
    run = bench.go()
    assert (run.state, run.err_no, run.error_kind, run.attempts) == (F, 28003018, "rate", MAX_ATTEMPTS)


@pytest.mark.parametrize(("attempts", "state", "seconds"), [(2, Q, 8), (7, Q, 256), (8, F, None)])
def test_what_cannot_be_reached_is_tried_ever_later_and_then_given_up(
    bench: Bench, still: datetime, attempts: int, state: RunState, seconds: int | None
) -> None:
    change(bench.session, bench.run, attempts=attempts - 1)
    bench.wire.looks = [REFUSED_CONNECTION]
    run = bench.go()
    assert (run.state, "联系不上抖音" in run.message) == (state, True)
    if seconds:
        assert run.not_before == still + timedelta(seconds=seconds)


def test_a_long_trace_of_a_refusal_is_cut(bench: Bench) -> None:
    bench.wire.changes = [no(40001) | {"log_id": "L" * 70}]
    assert bench.go().log_id == "L" * 64


def test_an_answer_outside_the_contract_to_a_look_is_asked_for_a_minute_later(bench: Bench, still: datetime) -> None:
    bench.wire.looks = [{"err_no": 0, "data": []}]
    run = bench.go()
    assert (run.state, run.attempts, run.error_kind) == (Q, 0, "answer")
    assert run.not_before == still + timedelta(seconds=60)


def test_a_look_that_is_refused_before_the_change_is_the_outcome(bench: Bench) -> None:
    bench.wire.looks = [no(10107)]
    run = bench.go()
    assert row_of(run, "state", "err_no", "error_kind") == {"state": F, "err_no": 10107, "error_kind": "banned"}
    assert (run.evidence, bench.wire.looked) == (None, 1)


def test_an_answer_outside_the_contract_after_the_change_was_meant_is_no_reason_to_begin_anew(
    bench: Bench, register: Register
) -> None:
    def odd(_row: Any, work: Work, _params: Any) -> None:
        work.intend(work.look(), version="2.0.0")
        raise DouyinError("怪", err_no=0, kind=ErrorKind.ANSWER)

    bench.ask(register(odd))
    assert row_of(bench.go(), "state", "error_kind") == {"state": F, "error_kind": "answer"}


def test_a_refusal_by_the_third_party_app_forgets_the_call_that_had_no_effect(bench: Bench) -> None:
    bench.wire.changes = [no(40006)]
    assert bench.go().evidence is None


@pytest.mark.parametrize(
    ("error", "hold"), [(Held("抖音没有响应", hold="host:open"), "host:open"), (NoAnswer("没有响应"), "")]
)
def test_what_was_accepted_is_read_back_in_two_seconds_whatever_failed_afterwards(
    bench: Bench, register: Register, still: datetime, error: Exception, hold: str
) -> None:
    def half(row: Any, work: Work, params: Any) -> None:
        go_live(row, work, params)
        raise error

    bench.ask(register(half))
    run = bench.go()
    assert row_of(run, "state", "message", "hold") == {"state": U, "message": "抖音已接受，正在核实结果", "hold": hold}
    assert run.not_before == still + timedelta(seconds=2)


def test_a_hold_before_the_change_is_waited_for_a_minute(bench: Bench, register: Register, still: datetime) -> None:
    def held(_row: Any, work: Work, _params: Any) -> None:
        work.intend(work.look(), version="2.0.0")
        raise Held("抖音没有响应", hold="host:open")

    bench.ask(register(held))
    run = bench.go()
    names = ("state", "message", "hold", "attempts", "evidence")
    assert tuple(row_of(run, *names).values()) == (Q, "抖音没有响应", "host:open", 0, None)
    assert run.not_before == still + timedelta(seconds=60)


def test_a_call_that_never_left_is_no_call_that_may_be_out(bench: Bench, register: Register, still: datetime) -> None:
    def unsent(_row: Any, work: Work, _params: Any) -> None:
        work.intend(work.look(), version="2.0.0")
        raise NoAnswer("没有发出", sent=False)

    bench.ask(register(unsent))
    run = bench.go()
    assert (run.state, run.evidence, run.not_before) == (Q, None, still + timedelta(seconds=4))


# What our own rules and faults leave behind


def test_an_operation_may_have_no_result(desk: Bench, register: Register) -> None:
    def mute(_row: Any, _work: Work, _params: Any) -> None:
        """Nothing to tell."""

    desk.ask(register(mute))
    assert row_of(desk.go(), "state", "result") == {"state": S, "result": {}}


def test_a_row_that_is_not_ready_is_refused_before_anything_is_done(bench: Bench, register: Register) -> None:
    bench.ask(register(go_live, ready=lambda row, look: f"{row.appid} 还不行" if look.session else None))
    run = bench.go()
    appid = bench.row.appid
    assert row_of(run, "state", "message", "error_kind") == {
        "state": F,
        "message": f"{appid} 还不行",
        "error_kind": "state",
    }
    assert bench.wire.looked == 0


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (Refused("不行"), "state"),
        (Refused("不行", field="version"), "parameter"),
        (NotGranted("不行", field="version"), "authorization"),
    ],
)
def test_our_own_refusals_are_of_a_kind(
    desk: Bench, register: Register, still: datetime, refusal: Refused, kind: str
) -> None:
    def strict(_row: Any, _work: Work, _params: Any) -> None:
        raise refusal

    desk.ask(register(strict))
    change(desk.session, desk.run, err_no=1, advice="从前的")
    run = desk.go()
    names = ("state", "message", "error_kind", "err_no", "advice", "lock", "lease_until", "finished_at")
    assert tuple(row_of(run, *names).values()) == (F, "不行", kind, None, "", None, None, still)


def test_what_is_refused_before_the_operation_is_of_a_kind_too(desk: Bench) -> None:
    change(desk.session, desk.run, params={"nothing": 1})
    assert row_of(desk.go(), "state", "error_kind") == {"state": F, "error_kind": "parameter"}


def test_what_is_too_soon_waits_as_long_as_it_says(desk: Bench, register: Register, still: datetime) -> None:
    def eager(_row: Any, _work: Work, _params: Any) -> None:
        raise TooSoon("再等等", seconds=30)

    desk.ask(register(eager))
    change(desk.session, desk.run, attempts=2)
    run = desk.go()
    assert (run.message, run.attempts, run.not_before) == ("再等等", 2, still + timedelta(seconds=30))


def test_a_fault_of_ours_before_the_call_names_the_run_and_is_logged(desk: Bench, register: Register) -> None:
    def broken(_row: Any, _work: Work, _params: Any) -> None:
        raise ZeroDivisionError

    desk.ask(register(broken))
    with Logged() as lines:
        run = desk.go()
    assert run.message == f"内部错误（ZeroDivisionError），未发送：请联系技术支持并提供运行编号 #{run.id}"
    assert ("operation_fault", run.id, "broken") in lines()


def test_a_fault_of_ours_after_the_call_is_read_back_when_no_answer_can_come(
    bench: Bench, register: Register, still: datetime
) -> None:
    def broken(row: Any, work: Work, params: Any) -> None:
        go_live(row, work, params)
        raise ZeroDivisionError

    bench.ask(register(broken))
    run = bench.go()
    assert run.message == "内部错误（ZeroDivisionError），正在核实结果"
    assert (run.state, run.advice, run.not_before) == (U, "", still + timedelta(seconds=7))


@pytest.mark.parametrize(
    ("intended", "state", "words"),
    [(True, U, "记录在执行期间被更新，正在核实结果"), (False, Q, "记录在执行期间被更新，重新执行")],
)
def test_a_row_that_changed_is_looked_at_again_at_once(
    bench: Bench, register: Register, still: datetime, intended: bool, state: RunState, words: str
) -> None:
    def stale(_row: Any, work: Work, _params: Any) -> None:
        if intended:
            work.intend(work.look(), version="2.0.0")
        raise StaleDataError

    bench.ask(register(stale))
    run = bench.go()
    assert row_of(run, "state", "message", "not_before") == {"state": state, "message": words, "not_before": still}
    assert run.attempts == (1 if intended else 0)


def test_a_run_without_a_connection_is_left_to_its_lease(bench: Bench, register: Register) -> None:
    """It is no fault of the operation, and nothing could be written."""

    def waits(_row: Any, _work: Work, _params: Any) -> None:
        raise NoConnection("QueuePool limit")

    bench.ask(register(waits))
    with pytest.raises(NoConnection):
        bench.go()
    assert bench.run.state == RunState.RUNNING


def test_a_lost_lease_is_logged(bench: Bench, register: Register) -> None:
    def slow(row: Any, work: Work, params: Any) -> None:
        work.douyin._deadline = 0.0
        go_live(row, work, params)

    bench.ask(register(slow))
    with Logged() as lines:
        bench.go()
    assert ("lease_lost", bench.run_id, None) in lines()

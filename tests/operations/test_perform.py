"""One run, by itself: what each fault makes of it, with HTTP faked at the socket and all of our own real."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
import requests
import responses
import sqlalchemy as sa
import urllib3
from flask import Flask
from sqlalchemy.orm import Session

from app import operations as core
from app.douyin.development import GetVersions, ReleaseVersion
from app.errors import Refused, TooSoon
from app.models import Circuit, Door, MiniProgram, OperationRun, RunState, ThirdPartyApp
from app.models.base import utcnow
from app.operations import OPERATIONS, Work, perform
from app.operations.perform import MAX_ATTEMPTS, LeasedDouyin, LeaseLost
from app.operations.proof import Sight, goal
from app.tenancy import PLATFORM, app_scope
from tests.conftest import Launch, SandboxServer, change, refresh, try_again

Q, S, F, U = RunState.QUEUED, RunState.SUCCEEDED, RunState.FAILED, RunState.UNKNOWN
REFUSED_CONNECTION = requests.ConnectionError(urllib3.exceptions.NewConnectionError(None, "refused"))  # type: ignore[arg-type]
SILENCE = requests.ReadTimeout()
Answer = Any


def no(code: int) -> dict[str, Any]:
    return {"err_no": code, "err_msg": "no", "log_id": "L-1"}


def live(version: str) -> dict[str, Any]:
    return {"err_no": 0, "data": {"current": {"version": version}}}


class Wire:
    """What Douyin answers next: to looks, the last one for ever; to changes, one each."""

    def __init__(self, http: responses.RequestsMock, url: str) -> None:
        self.looks: list[Answer] = [live("1.0.0")]
        self.changes: list[Answer] = [{"err_no": 0}]
        self.looked = self.changed = 0
        root = f"{url}/api/apps/v1/package_version"
        http.add_callback("GET", f"{root}/versions/", self._look)
        http.add_callback("POST", f"{root}/release/", self._change)

    def _look(self, _request: Any) -> tuple[int, dict[str, str], str]:
        self.looked += 1
        return _given(self.looks.pop(0) if len(self.looks) > 1 else self.looks[0])

    def _change(self, _request: Any) -> tuple[int, dict[str, str], str]:
        self.changed += 1
        answer = self.changes.pop(0)
        return _given(answer() if callable(answer) else answer)


def _given(answer: Answer) -> tuple[int, dict[str, str], str]:
    if isinstance(answer, Exception):
        raise answer
    if isinstance(answer, int):
        return answer, {}, "<html>"
    import json

    return 200, {}, json.dumps(answer)


def _look(_row: MiniProgram, work: Work, _params: Any) -> Sight:
    current = work.douyin.send(GetVersions()).current
    return Sight({"live": current.version if current else ""})


def go_live(_row: MiniProgram, work: Work, _params: Any) -> Mapping[str, Any]:
    work.intend(work.look(), version="2.0.0")
    work.douyin.send(ReleaseVersion())
    return {"done": True}


PROOF = goal(
    _look, stands=lambda facts, wanted: facts["live"] == wanted["version"], take=lambda *_: {"version": "2.0.0"}
)


class Bench:
    """A toy operation on alice's mini-program, and the run it is asked for."""

    def __init__(self, app: Flask, session: Session, launch: Launch, wire: Wire) -> None:
        self.app, self.session, self.launch, self.wire = app, session, launch, wire
        self.run_id = 0

    def ask(self, name: str = "go_live") -> None:
        """Queue a run; one asked for before is forgotten."""
        with app_scope(self.app, PLATFORM) as session:
            session.execute(sa.delete(OperationRun))
            row = session.get_one(MiniProgram, self.launch.mini_program.id)
            self.run_id = core.request(session, name, row, actor=core.SYSTEM, door=Door.JOB).id

    def go(self) -> OperationRun:
        perform.perform(self.app, self.run_id)
        return self.run

    def again(self) -> OperationRun:
        change(self.session, self.run, not_before=utcnow() - timedelta(seconds=1))
        return self.go()

    @property
    def run(self) -> OperationRun:
        refresh(self.session)
        return self.session.get_one(OperationRun, self.run_id)


Register = Callable[[Callable[..., Any]], str]


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Register:
    """Make a function an operation for this test."""

    def made(function: Callable[..., Any]) -> str:
        monkeypatch.setattr(core, "OPERATIONS", OPERATIONS)
        core.operation("试验", proof=PROOF)(function)
        monkeypatch.setitem(OPERATIONS, function.__name__, OPERATIONS.pop(function.__name__))
        return function.__name__

    return made


@pytest.fixture
def bench(app: Flask, session: Session, launch: Launch, sandbox: SandboxServer, register: Register) -> Iterator[Bench]:
    register(go_live)
    with responses.RequestsMock(assert_all_requests_are_fired=False) as http:
        http.add_passthru(f"{sandbox.url}/_sandbox")
        http.add_passthru(f"{sandbox.url}/openapi")
        http.add_passthru(f"{sandbox.url}/api/tpapp")
        found = Bench(app, session, launch, Wire(http, sandbox.url))
        found.ask()
        yield found


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
    bench.app.extensions["breaker"].forget()
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
        return _look(row, work, params).facts

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
    leased.work = Work(session, bench.run, leased, PROOF, intended=True)
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


def test_what_is_too_soon_waits_without_using_up_an_attempt(bench: Bench, register: Register) -> None:
    def eager(_row: Any, _work: Work, _params: Any) -> Mapping[str, Any]:
        raise TooSoon("再等等", seconds=30)

    bench.ask(register(eager))
    run = bench.go()
    assert (run.state, run.attempts) == (Q, 0)
    assert timedelta(seconds=20) < run.not_before - utcnow() <= timedelta(seconds=30)


# Rows that change under us, rows that are gone, faults of ours


def meddle(bench: Bench) -> None:
    with app_scope(bench.app, PLATFORM) as session:
        session.get_one(MiniProgram, bench.launch.mini_program.id).remarks = "别人改的"
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


def test_our_own_refusal_is_the_outcome(bench: Bench, register: Register) -> None:
    def strict(_row: Any, _work: Work, _params: Any) -> Mapping[str, Any]:
        raise Refused("不行", field="version")

    bench.ask(register(strict))
    run = bench.go()
    assert (run.state, run.message, run.error_kind) == (F, "不行", "parameter")


def test_a_run_whose_row_is_gone_fails(bench: Bench) -> None:
    change(bench.session, bench.run, subject_id=10_000_000)
    assert bench.go().message == "对象已不存在"


# Attempts


def test_faults_of_the_third_party_app_use_up_no_attempt(bench: Bench) -> None:
    for _ in range(MAX_ATTEMPTS + 1):
        bench.wire.changes, bench.wire.looks = [no(40006)], [live("1.0.0")]
        run = bench.again()
        assert (run.state, run.attempts, run.hold) == (Q, 0, f"app:{bench.launch.third_party_app.id}")
        with app_scope(bench.app, PLATFORM) as session:
            session.execute(sa.update(ThirdPartyApp).values(held="", fault=""))
            session.commit()
        bench.app.extensions["breaker"].forget()
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
    change(bench.session, bench.session.get_one(MiniProgram, bench.launch.mini_program.id), state="revoked")
    run = bench.again()
    assert (run.state, "授权" in run.message) == (F, True)


def test_an_app_in_doubt_is_not_called(bench: Bench) -> None:
    change(bench.session, bench.session.get_one(MiniProgram, bench.launch.mini_program.id), held_at=utcnow())
    run = bench.go()
    assert (run.state, run.attempts, bench.wire.looked) == (Q, 0, 0)
    assert run.hold == f"mini_program:{bench.launch.mini_program.id}"

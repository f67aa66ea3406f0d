"""The breaker: when a host or one endpoint counts as away, who tries it, and how it comes back."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.tenancy import PLATFORM, app_scope
from app.douyin.development import GetAuditHosts, GetVersions
from app.douyin.profile import GetAppInfo
from app.douyin.template import ListTemplates
from app.errors import DouyinError, Held, NoAnswer
from app.jobs.dispatch import Dispatcher, Widths
from app.link import breaker as module
from app.link import connection, holds
from app.models import AuthorizationState, Circuit, Door, MiniProgram, OperationRun, RunState
from app.models.kit import audit
from app.operations.perform import due, perform
from app.operations.runs import request, request_many
from tests.conftest import Launch, SandboxServer, authorize, refresh, try_again
from tests.waiting import wait_for


@pytest.fixture
def second(app: Flask, session: Session, sandbox: SandboxServer, launch: Launch) -> MiniProgram:
    """Another mini-program of the same merchant."""
    appid = sandbox.post("apps", count=1)["apps"][0]["appid"]
    return authorize(app, session, sandbox, launch.merchant, launch.third_party_app, appid)


@pytest.fixture
def weather(sandbox: SandboxServer) -> Iterator[SandboxServer]:
    yield sandbox
    sandbox.post("settings", outage="off", outage_paths=[])


def call(app: Flask, row: Any, what: Any) -> str:
    """What becomes of one call: ok, refused, silent or held."""
    with app_scope(app, PLATFORM) as session:
        douyin = connection.bind(session, row)
        session.commit()
    try:
        douyin.send(what)
    except Held:
        return "held"
    except NoAnswer:
        return "silent"
    except DouyinError:
        return "refused"
    return "ok"


def circuits(session: Session) -> dict[str, str]:
    refresh(session)
    return {row.name: row.state for row in session.scalars(select(Circuit)) if row.state != "closed"}


def calls(sandbox: SandboxServer) -> int:
    return len(sandbox.get("journal")["rows"])


@pytest.mark.parametrize("outage", ["refuse", "500", "html", "empty", "half"])
def test_a_host_that_answers_nobody_is_away_and_comes_back(
    app: Flask, session: Session, weather: SandboxServer, launch: Launch, second: MiniProgram, outage: str
) -> None:
    weather.post("settings", outage=outage)
    call(app, launch.mini_program, GetVersions())
    call(app, second, GetAppInfo())
    assert circuits(session) == {"open": "open"}
    before = calls(weather)
    assert call(app, second, GetVersions()) == "held"
    assert calls(weather) == before
    weather.post("settings", outage="off")
    try_again(app)
    assert call(app, second, GetVersions()) == "ok"


def test_one_app_alone_is_enough_when_the_probe_gets_no_answer_either(
    app: Flask, session: Session, weather: SandboxServer, launch: Launch
) -> None:
    weather.post("settings", outage="500")
    call(app, launch.mini_program, GetVersions())
    assert circuits(session) == {"open": "open"}


def test_an_endpoint_that_fails_alone_holds_only_itself(
    app: Flask, session: Session, weather: SandboxServer, launch: Launch, second: MiniProgram
) -> None:
    weather.post("settings", outage="500", outage_paths=["package_version/versions"])
    for row in (launch.mini_program, second):
        call(app, row, GetVersions())
    assert circuits(session) == {"open:get_versions": "open"}
    assert call(app, second, GetVersions()) == "held"
    assert call(app, second, GetAuditHosts()) == "ok"
    weather.post("settings", outage="off")
    try_again(app)
    assert call(app, second, GetVersions()) == "ok"
    assert circuits(session) == {}


def test_an_endpoint_that_fails_for_one_app_only_holds_nothing(
    app: Flask, session: Session, weather: SandboxServer, launch: Launch, second: MiniProgram
) -> None:
    weather.post("settings", outage="500", outage_paths=["package_version/versions"])
    call(app, launch.mini_program, GetVersions())
    assert circuits(session) == {}
    assert call(app, second, GetAppInfo()) == "ok"


def test_the_endpoint_of_the_third_party_apps_own_token_is_held_alone(
    app: Flask, session: Session, weather: SandboxServer, launch: Launch, second: MiniProgram
) -> None:
    """All its calls are of one app: two apps could never be seen to fail."""
    weather.post("settings", outage="500", outage_paths=["get_tpl_list"])
    for _ in range(3):
        call(app, launch.third_party_app, ListTemplates())
        call(app, launch.mini_program, GetAppInfo())
    assert circuits(session) == {"open:list_templates": "open"}


def test_a_failure_while_it_comes_back_opens_it_again(app: Flask, session: Session, launch: Launch) -> None:
    breaker = connection.breaker(app)
    tokens = _tokens(app, launch.mini_program)
    breaker._closing("open")
    breaker.admit(GetVersions(), tokens)
    breaker.note(GetVersions(), tokens, answered=False, error=None)
    assert circuits(session) == {"open": "open"}


def test_a_cancelled_run_is_not_the_one_that_tries(app: Flask, session: Session, launch: Launch) -> None:
    cancelled, waiting = ask(session, launch.mini_program), None
    with app_scope(app, PLATFORM) as own:
        own.get_one(OperationRun, cancelled.id).state = RunState.FAILED
        own.commit()
    waiting = ask(session, launch.mini_program)
    ids = (cancelled.id, waiting.id)
    with app_scope(app, PLATFORM) as own:
        own.execute(OperationRun.__table__.update().values(hold="host:open:get_versions"))
        own.add(Circuit(name="open:get_versions", state="open", reason=""))
        own.commit()
        holds.nominate(own)
    refresh(session)
    assert [session.get_one(OperationRun, run_id).hold for run_id in ids] == ["host:open:get_versions", ""]


def test_a_refusal_is_an_answer(
    app: Flask, session: Session, weather: SandboxServer, launch: Launch, second: MiniProgram
) -> None:
    weather.post("settings", error_rate=1.0, error_code=28001005)
    for row in (launch.mini_program, second, launch.mini_program, second):
        assert call(app, row, GetVersions()) == "refused"
        assert call(app, row, GetAppInfo()) == "refused"
    weather.post("settings", error_rate=0.0, error_code=0)
    assert circuits(session) == {}


def test_a_good_answer_between_two_silences_closes_the_case(
    app: Flask, session: Session, weather: SandboxServer, launch: Launch, second: MiniProgram
) -> None:
    breaker = connection.breaker(app)
    for row, what in ((launch.mini_program, GetVersions()), (second, GetAppInfo())):
        tokens = _tokens(app, row)
        breaker.admit(what, tokens)
        breaker.note(what, tokens, answered=False, error=None)
        breaker.admit(GetAuditHosts(), tokens)
        breaker.note(GetAuditHosts(), tokens, answered=True, error=None)
    assert circuits(session) == {}


def _tokens(app: Flask, row: Any) -> Any:
    with app_scope(app, PLATFORM) as session:
        return connection.bind(session, row).tokens


def test_a_probe_says_nothing_of_the_calls_it_is_made_for(app: Flask, session: Session, launch: Launch) -> None:
    """An answer to it widens nothing, and clears no failure; a silence opens nothing."""
    breaker = connection.breaker(app)
    tokens = _tokens(app, launch.mini_program)
    breaker._closing("open")
    for answered in (True, False):
        with holds.passing():
            breaker.admit(GetVersions(), tokens)
            breaker.note(GetVersions(), tokens, answered=answered, error=None)
    assert (breaker.window(), circuits(session)) == (1, {"open": "closing"})


def test_a_suspicion_that_was_cleared_is_not_looked_into_again_at_once(
    app: Flask, session: Session, weather: SandboxServer, launch: Launch, second: MiniProgram
) -> None:
    """One app's endpoint fails and no other: a probe found the host well."""
    assert second.state == AuthorizationState.AUTHORIZED
    weather.post("settings", outage="500", outage_paths=["package_version/versions"])
    call(app, launch.mini_program, GetVersions())
    failed = [row for row in weather.get("journal")["rows"] if row["path"].endswith("versions/")]
    assert failed, "the endpoint was asked"
    before = calls(weather)
    sent = sum(call(app, launch.mini_program, GetVersions()) == "silent" for _ in range(3))
    resent = sum(row["path"].endswith("versions/") for row in weather.get("journal")["rows"]) - len(failed)
    assert (sent, calls(weather) - before) == (3, resent), "no probe among them"


def test_an_endpoint_is_not_blamed_while_nothing_else_was_answered(
    app: Flask, session: Session, weather: SandboxServer, launch: Launch, second: MiniProgram
) -> None:
    """Another process is looking into it: until it says so, all of the host may be away."""
    with app_scope(app, PLATFORM) as own:
        soon = utcnow() + timedelta(minutes=1)
        own.add(Circuit(name="open", state="closed", reason="", owner="another", lease_until=soon))
        own.commit()
    connection.breaker(app).forget()
    weather.post("settings", outage="500")
    for row in (launch.mini_program, second, launch.mini_program):
        tokens = _tokens(app, row)
        connection.breaker(app).admit(GetVersions(), tokens)
        connection.breaker(app).note(GetVersions(), tokens, answered=False, error=None)
    assert circuits(session) == {}


def test_what_stays_away_is_tried_again_after_five_to_twenty_seconds(
    app: Flask, session: Session, weather: SandboxServer, launch: Launch
) -> None:
    weather.post("settings", outage="500")
    call(app, launch.mini_program, GetVersions())
    pauses = []
    for _ in range(8):
        try_again(app)
        refresh(session)
        row = session.get_one(Circuit, "open")
        assert row.probe_at is not None
        pauses.append((row.probe_at - utcnow()).total_seconds())
    assert 3 < min(pauses)
    assert max(pauses) <= 20
    assert max(pauses) - min(pauses) > 0.5, "processes that met the outage together do not try together"


def test_of_many_that_meet_it_one_tries(
    app: Flask, session: Session, weather: SandboxServer, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    weather.post("settings", outage="500")
    call(app, launch.mini_program, GetVersions())
    with app_scope(app, PLATFORM) as own:
        own.execute(Circuit.__table__.update().values(probe_at=None, lease_until=None))
        own.commit()
    connection.breaker(app).forget()
    before = calls(weather)
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda _: call(app, launch.mini_program, GetVersions()), range(8)))
    assert set(outcomes) == {"held"}
    assert calls(weather) == before + 1


def test_calls_come_back_one_two_four_at_a_time(app: Flask, session: Session, launch: Launch) -> None:
    breaker = connection.breaker(app)
    tokens = _tokens(app, launch.mini_program)
    breaker._closing("open")
    widths = []
    while (window := breaker.window()) is not None:
        widths.append(window)
        for _ in range(window):
            breaker.admit(GetVersions(), tokens)
        with pytest.raises(Held, match="逐步"):
            breaker.admit(GetVersions(), tokens)
        for _ in range(window):
            breaker._in_flight["open"] -= 1
        breaker._in_flight["open"] += 1
        breaker.note(GetVersions(), tokens, answered=True, error=None)
    assert widths == [1, 2, 4, 8, 16]
    assert circuits(session) == {}


def test_of_a_window_of_one_exactly_one_is_under_way(app: Flask, session: Session, launch: Launch) -> None:
    breaker, tokens, what = connection.breaker(app), _tokens(app, launch.mini_program), GetVersions()
    breaker._in_flight.clear()  # a process that has called nobody yet
    breaker._windows["open"] = 1
    for _ in range(2):
        breaker.admit(what, tokens)
        with pytest.raises(Held) as refused:
            breaker.admit(what, tokens)
        assert refused.value.hold == holds.of_circuit("open")
        breaker._windows["open"] = 1
        breaker.note(what, tokens, answered=True, error=None)
        breaker._windows["open"] = 1
    breaker.note(what, tokens, answered=True, error=None)
    assert breaker._in_flight["open"] == 0  # one told twice takes no place of another's
    breaker.forget()


def test_another_process_waits_until_the_first_has_let_enough_through(
    app: Flask, session: Session, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.breaker(app)._closing("open")
    assert not holds.standing(session).away
    monkeypatch.setattr("app.data.process.PROCESS", "another")
    refresh(session)
    assert holds.standing(session).away
    connection.breaker(app)._read_at = 0.0
    assert call(app, launch.mini_program, GetVersions()) == "held"


def test_whoever_closes_it_and_dies_stops_nobody(app: Flask, session: Session, launch: Launch) -> None:
    connection.breaker(app)._closing("open")
    with app_scope(app, PLATFORM) as own:
        own.execute(Circuit.__table__.update().values(owner="dead", lease_until=None))
        own.commit()
    connection.breaker(app).forget()
    assert call(app, launch.mini_program, GetVersions()) == "ok"


# What it means for runs


def ask(session: Session, row: Any, name: str = "sync_versions") -> OperationRun:
    refresh(session)
    return request(session, name, row, actor=audit.SYSTEM, door=Door.JOB)


def test_while_douyin_is_away_nothing_is_due_but_what_calls_nobody(
    app: Flask, session: Session, weather: SandboxServer, launch: Launch, second: MiniProgram
) -> None:
    waiting, local = ask(session, launch.mini_program), ask(session, second, "clear_authorization")
    weather.post("settings", outage="500")
    perform(app, waiting.id)
    refresh(session)
    run = session.get_one(OperationRun, waiting.id)
    assert (run.state, run.attempts <= 1) == (RunState.QUEUED, True)
    assert [run.id for run in due(session, 10)] == [local.id]
    weather.post("settings", outage="off")
    try_again(app)
    refresh(session)
    assert [run.id for run in due(session, 10)] == [waiting.id, local.id]


def test_a_read_back_waits_too_and_ends_its_waiting_with_the_outage(
    app: Flask, session: Session, weather: SandboxServer, launch: Launch
) -> None:
    run = ask(session, launch.mini_program, "submit_audit")
    evidence = {"before": {}, "wanted": {}, "at": "2026-01-01T00:00:00+00:00", "calls": 1}
    run.state, run.lock, run.evidence = RunState.UNKNOWN, run.lock_key, evidence
    session.commit()
    weather.post("settings", outage="500")
    call(app, launch.mini_program, GetVersions())
    perform(app, run.id)
    refresh(session)
    waiting = session.get_one(OperationRun, run.id)
    assert (waiting.state, waiting.hold, waiting.settles) == (RunState.UNKNOWN, "host:open", 0)
    weather.post("settings", outage="off")
    try_again(app)
    refresh(session)
    assert session.get_one(OperationRun, run.id).hold == ""


def test_of_what_waits_for_one_endpoint_one_run_is_let_through_to_try_it(
    app: Flask, session: Session, weather: SandboxServer, launch: Launch, second: MiniProgram
) -> None:
    runs = [ask(session, row) for row in (launch.mini_program, second)]
    ids = [run.id for run in runs]
    weather.post("settings", outage="500", outage_paths=["package_version/versions"])
    for _ in range(2):
        for run_id in ids:
            with app_scope(app, PLATFORM) as own:
                own.get_one(OperationRun, run_id).not_before = utcnow()
                own.commit()
            perform(app, run_id)
    refresh(session)
    assert {session.get_one(OperationRun, run_id).hold for run_id in ids} == {"host:open:get_versions"}
    assert due(session, 10) == []
    with app_scope(app, PLATFORM) as own:
        own.execute(Circuit.__table__.update().values(probe_at=None))
        own.commit()
        holds.nominate(own)
    refresh(session)
    assert len(due(session, 10)) == 1


def test_an_endpoint_that_nobody_waits_for_is_not_held_for_ever(app: Flask, session: Session) -> None:
    with app_scope(app, PLATFORM) as own:
        own.add(Circuit(name="open:get_versions", state="open", reason=""))
        own.commit()
        holds.nominate(own)
    assert circuits(session) == {}


def test_a_retired_call_fails_that_operation_alone(
    app: Flask, session: Session, weather: SandboxServer, launch: Launch, second: MiniProgram
) -> None:
    run, other = ask(session, launch.mini_program), ask(session, second, "sync_app_info")
    weather.post("settings", error_next=1, error_path="package_version/versions", error_code=28001056)
    perform(app, run.id)
    perform(app, other.id)
    refresh(session)
    assert session.get_one(OperationRun, run.id).state == RunState.FAILED
    assert session.get_one(OperationRun, other.id).state == RunState.SUCCEEDED


# The batch: one call first


def test_a_batch_begins_with_one_run_and_widens() -> None:
    widths = Widths(16)
    seen = []
    for _ in range(6):
        seen.append(widths.of((1, "a")))
        widths.ended((1, "a"), held=False)
    assert seen == [1, 2, 4, 8, 16, 16]
    assert widths.of((1, "b")) == 1  # another batch begins for itself
    widths.ended((2, None), held=False)
    widths.ended((1, "b"), held=True)
    assert [widths.of(key) for key in ((1, "a"), (1, "b"), (2, None))] == [1, 1, 2]


def test_a_run_that_another_worker_had_widens_nothing(app: Flask) -> None:
    dispatcher = Dispatcher(app)
    dispatcher._work(10_000_000, (1, "a"))
    assert dispatcher.widths.of((1, "a")) == 1
    dispatcher.pool.shutdown()


def test_a_fault_that_stood_at_the_start_of_a_batch_costs_three_calls_at_most(
    app: Flask, session: Session, weather: SandboxServer, launch: Launch
) -> None:
    rows = [launch.mini_program]
    for _ in range(5):
        appid = weather.post("apps", count=1)["apps"][0]["appid"]
        rows.append(authorize(app, session, weather, launch.merchant, launch.third_party_app, appid))
    weather.post("settings", ip_blocked=True, latency_ms=300)  # all in flight would be, before the first is told
    before = calls(weather)
    refresh(session)
    request_many(session, "sync_versions", rows, actor=audit.SYSTEM, params={})
    dispatcher = Dispatcher(app)
    dispatcher.start()
    try:
        for _ in range(6):  # also once the fault is known
            looked = dispatcher.looked
            dispatcher._wake()
            wait_for(lambda: dispatcher.looked > looked and not dispatcher.in_hand)  # noqa: B023
    finally:
        dispatcher.stop()
        weather.post("settings", ip_blocked=False, latency_ms=0)
    refresh(session)
    assert calls(weather) - before <= 3
    states = {
        (run.state, run.attempts)
        for run in session.scalars(select(OperationRun).where(OperationRun.batch_id.is_not(None)))
    }
    assert states == {(RunState.QUEUED, 0)}
    assert "白名单" in connection.breaker(app).sentences()[0]


def test_the_probes_are_reads_of_their_hosts() -> None:
    for host, (probe, _token) in module.PROBES.items():
        assert probe.reads and probe.route.host is host
    assert isinstance(module.OTHER_PROBE, ListTemplates)

"""The wish for an operation: the row it is for, the run that comes of it, and waiting for its end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.errors import Refused
from app.models import AuthorizationState, Door, OperationRun, RunState, Template, TemplateApp
from app.models.kit.audit import Actor
from app.operations import runs
from app.operations.registry import find
from tests.conftest import Actors, change

WANG = Actor(7, "王五", "192.0.2.7")
Q, R, S, F, U = RunState.QUEUED, RunState.RUNNING, RunState.SUCCEEDED, RunState.FAILED, RunState.UNKNOWN


@pytest.fixture
def actors(session: Session, actors: Actors) -> Actors:
    """With mini-programs that are authorised."""
    for row in (actors.alice_app, actors.bob_app):
        change(session, row, state=AuthorizationState.AUTHORIZED, permissions=[1, 2, 3])
    return actors


@pytest.fixture
def woken(app: Flask) -> Iterator[list[int]]:
    """One entry for each time that the workers were woken."""
    found: list[int] = []
    app.extensions["operation_wakers"].append(lambda: found.append(1))
    yield found
    app.extensions["operation_wakers"].clear()


def ask(session: Session, row: Any, name: str = "refresh_token", door: Door = Door.ROW, **params: Any) -> OperationRun:
    return runs.request(session, name, row, actor=WANG, door=door, **params)


def key_of(row: Any) -> str:
    return find("refresh_token").key(row)


def count(session: Session) -> int:
    return session.scalar(select(func.count(OperationRun.id))) or 0


# The row


def test_a_row_is_found_by_the_key_of_its_kind(session: Session, actors: Actors) -> None:
    owner = actors.alice_app.third_party_app
    made = TemplateApp(third_party_app_id=owner.id, appid="ttt1")
    template = Template(third_party_app_id=owner.id, template_id="77")
    session.add_all([made, template])
    session.commit()
    known = ((actors.bob_app, actors.bob_app.appid), (owner, owner.appid), (made, "ttt1"), (template, "77"))
    for row, key in known:
        by = "template_id" if row is template else "appid"
        assert runs.subject(session, replace(find("refresh_token"), on=type(row), by=by), key) is row


def test_a_row_that_is_not_there_is_refused_by_its_key(session: Session, actors: Actors) -> None:
    with pytest.raises(Refused) as caught:
        runs.subject(session, find("refresh_token"), "tt-none")
    assert (caught.value.message, caught.value.field) == ("没有找到 tt-none", "appid")


@pytest.mark.parametrize(("state", "holds"), [(Q, True), (R, True), (U, True), (S, False), (F, False)])
def test_a_row_is_held_by_a_run_that_is_not_over(
    session: Session, actors: Actors, state: RunState, holds: bool
) -> None:
    run = ask(session, actors.alice_app)
    change(session, run, state=state)
    found = runs.holder(session, key_of(actors.alice_app))
    assert (found.id if found else None) == (run.id if holds else None)
    assert runs.holder(session, key_of(actors.bob_app)) is None


def test_of_several_runs_the_first_holds_the_row(session: Session, actors: Actors) -> None:
    first = ask(session, actors.alice_app, door=Door.BATCH)
    ask(session, actors.alice_app, door=Door.BATCH)
    found = runs.holder(session, key_of(actors.alice_app))
    assert found is not None
    assert found.id == first.id


# The run


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> datetime:
    now = utcnow().replace(microsecond=0)
    monkeypatch.setattr(runs, "utcnow", lambda: now)
    return now


EVERY = tuple(
    name
    for name in (
        "operation merchant_id subject_type subject_id mini_program_id third_party_app_id appid actor_id actor_name "
        "actor_ip door batch_id params state lock_key lock not_before created_at attempts settles hold result"
    ).split()
)


def values(run: OperationRun) -> dict[str, Any]:
    return {name: getattr(run, name) for name in EVERY}


def test_a_run_holds_who_wants_what_of_which_row(
    session: Session, actors: Actors, moment: datetime, woken: list[int]
) -> None:
    row = actors.alice_app
    run = ask(session, row, batch_id="b1")
    session.rollback()
    session.expire_all()
    expected = {
        "operation": "refresh_token",
        "merchant_id": row.merchant_id,
        "subject_type": "mini_program",
        "subject_id": row.id,
        "mini_program_id": row.id,
        "third_party_app_id": row.third_party_app_id,
        "appid": row.appid,
        "actor_id": 7,
        "actor_name": "王五",
        "actor_ip": "192.0.2.7",
        "door": Door.ROW,
        "batch_id": "b1",
        "params": {},
        "state": Q,
        "lock_key": f"mini_program:{row.id}:authorization",
        "lock": None,
        "not_before": moment,
        "created_at": moment,
        "attempts": 0,
        "settles": 0,
        "hold": "",
        "result": {},
    }
    assert values(run) == expected
    assert woken == [1]
    change(session, run, state=S)
    batch_id, queued = runs.request_many(session, "refresh_token", [row], actor=WANG, params={})
    session.rollback()
    many = session.scalars(select(OperationRun).where(OperationRun.batch_id == batch_id)).one()
    assert values(many) == expected | {"door": Door.BATCH, "batch_id": batch_id}
    assert (queued, len(batch_id), woken) == (1, 32, [1, 1])


def test_a_run_on_a_row_without_merchant_or_appid_holds_none(session: Session, actors: Actors) -> None:
    owner = actors.alice_app.third_party_app
    template = Template(third_party_app_id=owner.id, template_id="77", id=4321)
    session.add(template)
    session.commit()
    run = ask(session, template, "delete_template")
    assert (run.merchant_id, run.mini_program_id, run.third_party_app_id, run.appid) == (None, None, owner.id, "")
    assert (run.lock_key, run.batch_id) == ("template:4321", None)


def test_a_run_on_a_third_party_app_is_its_own(session: Session, actors: Actors) -> None:
    owner = actors.alice_app.third_party_app
    run = ask(session, owner, "sync_templates")
    assert (run.mini_program_id, run.third_party_app_id, run.appid) == (None, owner.id, owner.appid)
    assert run.subject_type == "third_party_app"


def test_a_long_name_of_an_actor_is_cut(session: Session, actors: Actors) -> None:
    run = runs.request(session, "refresh_token", actors.alice_app, actor=Actor(1, "王" * 80), door=Door.ROW)
    assert run.actor_name == "王" * 64


def test_a_run_holds_its_parameters_checked(session: Session, actors: Actors) -> None:
    given = {"template_id": " 7 ", "version": "1.0.0", "description": "首版"}
    run = ask(session, actors.alice_app, "upload_code", **given)
    assert {name: run.params[name] for name in given} == given | {"template_id": "7"}
    batch_id, _ = runs.request_many(session, "upload_code", [actors.bob_app], actor=WANG, params=given)
    many = session.scalars(select(OperationRun).where(OperationRun.batch_id == batch_id)).one()
    assert many.params == run.params


@pytest.mark.parametrize("name", ["nope", "refresh_token"])
def test_what_is_refused_queues_nothing_and_wakes_nobody(
    session: Session, actors: Actors, woken: list[int], name: str
) -> None:
    for wish in (
        lambda: ask(session, actors.alice_app, name, nonsense="1"),
        lambda: runs.request_many(session, name, [actors.alice_app], actor=WANG, params={"nonsense": "1"}),
    ):
        with pytest.raises(Refused) as caught:
            wish()
        assert caught.value.field == ("operation" if name == "nope" else "nonsense")
    assert (count(session), woken) == (0, [])


def test_a_row_without_authorisation_is_refused_at_once(session: Session, actors: Actors) -> None:
    change(session, actors.alice_app, state=AuthorizationState.REVOKED)
    with pytest.raises(Refused, match="授权状态"):
        ask(session, actors.alice_app)
    assert count(session) == 0


def test_a_row_at_work_is_refused_except_to_batches(session: Session, actors: Actors) -> None:
    run = ask(session, actors.alice_app, "recover_authorization")
    with pytest.raises(Refused) as caught:
        ask(session, actors.alice_app)
    words = f"「{actors.alice_app}」正在进行「找回授权」（运行 #{run.id}，排队中）：请等它结束"
    assert caught.value.message == words
    assert ask(session, actors.alice_app, door=Door.BATCH).state == Q
    assert ask(session, actors.bob_app).state == Q


@pytest.mark.parametrize(
    ("rows", "chunks"), [(0, []), (1, [1]), (499, [499]), (500, [500]), (501, [500, 1]), (1001, [500, 500, 1])]
)
def test_many_are_queued_in_chunks(
    session: Session, actors: Actors, monkeypatch: pytest.MonkeyPatch, rows: int, chunks: list[int]
) -> None:
    written: list[int] = []
    execute = session.execute

    def watched(statement: Any, *many: Any, **options: Any) -> Any:
        written.extend(len(values) for values in many)
        return execute(statement, *many, **options)

    monkeypatch.setattr(session, "execute", watched)
    batch_id, queued = runs.request_many(session, "refresh_token", [actors.alice_app] * rows, actor=WANG, params={})
    monkeypatch.undo()
    assert (queued, written) == (rows, chunks)
    session.rollback()
    found = session.scalars(select(OperationRun.batch_id)).all()
    assert found == [batch_id] * rows


# Its end


class Clock:
    """Time that goes by only while somebody sleeps; at `done` seconds the run is over."""

    def __init__(self, session: Session, run: OperationRun, done: float) -> None:
        self.session, self.run, self.done = session, run, done
        self.now, self.slept = 100.0, list[float]()

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)
        if self.now - 100.0 >= self.done:
            change(self.session, self.run, state=S)
        assert len(self.slept) < 100


@pytest.mark.parametrize(
    ("seconds", "done", "state", "naps"), [(0.0, 9.0, Q, 0), (0.125, 9.0, Q, 3), (60.0, 0.1, S, 2), (60.0, 0.05, S, 1)]
)
def test_a_run_is_waited_for_until_it_is_over_or_the_time_is_up(
    app: Flask,
    session: Session,
    actors: Actors,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    done: float,
    state: RunState,
    naps: int,
) -> None:
    ask(session, actors.bob_app)
    run_id = ask(session, actors.alice_app).id
    clock = Clock(session, session.get_one(OperationRun, run_id), done - 1e-6)
    monkeypatch.setattr(runs, "time", SimpleNamespace(monotonic=clock.monotonic, sleep=clock.sleep))
    session.rollback()
    assert runs.wait_for(app, run_id, seconds) == state
    assert clock.slept == [0.05] * naps


@pytest.mark.parametrize("state", [S, F])
def test_a_run_that_is_over_is_not_waited_for(
    app: Flask, session: Session, actors: Actors, monkeypatch: pytest.MonkeyPatch, state: RunState
) -> None:
    run = ask(session, actors.alice_app)
    run_id = run.id
    change(session, run, state=state)
    session.rollback()
    monkeypatch.setattr(runs, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=pytest.fail))
    assert runs.wait_for(app, run_id, 60.0) == state


def test_the_time_that_is_up_to_the_instant_is_up(
    app: Flask, session: Session, actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = ask(session, actors.alice_app).id
    session.rollback()
    monkeypatch.setattr(runs, "time", SimpleNamespace(monotonic=lambda: 5.0, sleep=pytest.fail))
    assert runs.wait_for(app, run_id, 0.0) == Q


# Its words


def test_a_run_is_told_whole(app: Flask) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    run = OperationRun(
        id=9,
        operation="release",
        appid="tt1",
        state=F,
        err_no=11402,
        message="不行",
        advice="等等",
        log_id="L-1",
        result={"a": 1},
        params={"b": 2},
        door=Door.REST,
        actor_name="王五",
        attempts=3,
        batch_id="b1",
        created_at=at,
        finished_at=at,
    )
    told = {
        "id": 9,
        "operation": "release",
        "appid": "tt1",
        "state": "failed",
        "err_no": 11402,
        "message": "不行",
        "advice": "等等",
        "log_id": "L-1",
        "result": {"a": 1},
        "answer": [],
        "params": {"b": 2},
        "door": "rest",
        "actor": "王五",
        "attempts": 3,
        "batch_id": "b1",
        "created_at": "2026-01-02T03:04:05+00:00",
        "finished_at": "2026-01-02T03:04:05+00:00",
    }
    assert runs.as_json(run) == told
    assert (type(runs.as_json(run)["state"]), type(runs.as_json(run)["door"])) == (str, str)
    run.finished_at = None
    assert runs.as_json(run) == told | {"finished_at": None}


def test_an_answer_may_come_five_seconds_after_a_call_was_given_up(app: Flask, session: Session) -> None:
    assert runs.grace() == timedelta(seconds=float(app.config["DOUYIN_TIMEOUT"]) + 5)

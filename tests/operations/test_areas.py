"""A change locks its area of a mini-program and no other; what only reads locks nothing; two at once both end well."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy import event
from sqlalchemy.orm import Session

from app.data.tenancy import PLATFORM, app_scope
from app.douyin.development import ReleaseVersion
from app.errors import Refused
from app.extensions import db
from app.models import Door, MiniProgram, OperationRun, RunState
from app.models.kit import audit
from app.operations import perform, registry, runs
from app.operations.proof import Settlement, Sight, Verdict, Work
from app.operations.proof import event as event_verb
from app.operations.registry import OPERATIONS, Area
from tests.conftest import Launch, SandboxServer, change, refresh
from tests.operations.release.test_release import Loop
from tests.operations.toy import SILENCE, Bench, F, Register, S, U, live

HERE = event_verb(
    lambda *_: Sight({}), happened=lambda *_: Settlement(Verdict.NOT_DONE), take=lambda *_: {}
)  # of what calls nobody
OURS = frozenset({"row_version", "changed_at", "changed_by_id"})  # every write has them


def releases(row: MiniProgram, work: Work, _params: Any) -> Mapping[str, Any]:
    work.intend(work.look(), version="2.0.0")
    work.douyin.send(ReleaseVersion())
    row.live_version = "2.0.0"
    return {}


def renames(row: MiniProgram, _work: Work, _params: Any) -> Mapping[str, Any]:
    row.name = "新名"
    return {}


def reads(row: MiniProgram, _work: Work, _params: Any) -> Mapping[str, Any]:
    return {"name": row.name}


@pytest.fixture
def toys(register: Register) -> None:
    register(releases)
    register(renames, area=Area.PROFILE, proof=HERE, calls=False)
    register(reads, mutates=False, proof=None, reads={"name": "名称"}, calls=False)


def wish(bench: Bench, name: str) -> int:
    return wish_for(bench.app, bench.row.id, name)


def wish_for(app: Flask, row_id: int, name: str) -> int:
    with app_scope(app, PLATFORM) as session:
        row = session.get_one(MiniProgram, row_id)
        return runs.request(session, name, row, actor=audit.SYSTEM, door=Door.ROW).id


def states(bench: Bench, *ids: int) -> list[RunState]:
    refresh(bench.session)
    return [bench.session.get_one(OperationRun, number).state for number in ids]


# What each operation says


def test_every_change_has_an_area_and_what_only_reads_has_none() -> None:
    assert {op.name for op in OPERATIONS.values() if op.mutates} == {op.name for op in OPERATIONS.values() if op.area}


def test_operations_of_one_file_or_folder_share_an_area() -> None:
    areas = defaultdict(set)
    for op in OPERATIONS.values():
        if op.area is not None:
            areas[op.run.__module__.split(".")[2]].add(op.area)
    assert all(len(found) == 1 for found in areas.values())
    assert len(set(itertools.chain(*areas.values()))) == len(areas)


def test_areas_of_a_mini_program_are_apart_and_other_rows_are_one_each(launch: Launch) -> None:
    row, owner = launch.mini_program, launch.third_party_app
    keys = {registry.lock_of(row, area) for area in Area}
    assert len(keys) == len(Area)
    assert registry.lock_of(row, Area.RELEASE) == f"mini_program:{row.id}"  # as older versions queued
    assert registry.lock_of(owner, Area.TEMPLATE) == f"third_party_app:{owner.id}"


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, set[tuple[str, str]]]]:
    """The columns that each operation's run writes of rows that were there, by the operation."""
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    at_work: dict[Session, str] = {}
    go = perform._Attempt.go

    def noted(attempt: perform._Attempt, taken: perform.Taken) -> None:
        at_work[attempt.session] = attempt.run.operation
        try:
            go(attempt, taken)
        finally:
            del at_work[attempt.session]

    monkeypatch.setattr(perform._Attempt, "go", noted)

    def watch(session: Session, *_: Any) -> None:
        if session not in at_work:
            return
        for row in session.dirty:
            state = sa.inspect(row)
            changed = {item.key for item in state.attrs if item.history.has_changes()} - OURS
            found[at_work[session]] |= {(row.__tablename__, name) for name in changed}

    session_class = db.session.session_factory.class_
    event.listen(session_class, "before_flush", watch)
    yield found
    event.remove(session_class, "before_flush", watch)


def test_operations_of_two_areas_write_no_column_in_common(
    app: Flask,
    session: Session,
    launch: Launch,
    sandbox: SandboxServer,
    written: dict[str, set[tuple[str, str]]],
) -> None:
    loop = Loop(app, session, sandbox, launch)
    loop.go_live("1.0.0")
    loop.upload("1.0.1")
    loop.do("submit_audit")
    loop.do("withdraw_audit")
    loop.later(11)
    loop.go_live("1.0.2")
    for name in ("rollback", "refresh_token", "recover_authorization", "clear_authorization"):
        run = loop.do(name)
        assert run.state == RunState.SUCCEEDED, (name, run.message)
    by_area: dict[Area, set[tuple[str, str]]] = defaultdict(set)
    for name, columns in written.items():
        if (area := OPERATIONS[name].area) is not None:
            by_area[area] |= columns
    assert ("mini_program", "live_version") in by_area[Area.RELEASE]
    assert ("mini_program", "state") in by_area[Area.AUTHORIZATION]
    for one, other in itertools.combinations(by_area, 2):
        assert by_area[one] & by_area[other] == set()


# What is locked


def test_a_change_of_unknown_outcome_stops_its_own_area_only(bench: Bench, toys: None) -> None:
    bench.wire.changes = [SILENCE]
    assert bench.go().state == U
    with pytest.raises(Refused, match=f"#{bench.run_id}"):
        wish(bench, "releases")
    other, read = wish(bench, "renames"), wish(bench, "reads")
    with app_scope(bench.app, PLATFORM) as session:
        assert [item.id for item in perform.due(session, 9)] == [other, read]
    assert perform.perform(bench.app, other) and perform.perform(bench.app, read)
    assert states(bench, bench.run_id, other, read) == [U, S, S]


def test_two_readings_are_at_work_at_once(bench: Bench, toys: None, register: Register) -> None:
    second = 0

    def looks(row: MiniProgram, _work: Work, _params: Any) -> Mapping[str, Any]:
        assert perform.perform(bench.app, second)
        return {"name": row.name}

    register(looks, mutates=False, proof=None, reads={"name": "名称"}, calls=False)
    first, second = wish(bench, "looks"), wish(bench, "reads")
    assert perform.perform(bench.app, first)
    assert states(bench, first, second) == [S, S]


def test_what_an_older_version_queued_still_keeps_a_release_waiting(bench: Bench, toys: None) -> None:
    older = bench.run_id
    change(bench.session, bench.run, lock=f"mini_program:{bench.row.id}", state=RunState.UNKNOWN)
    with pytest.raises(Refused, match=f"#{older}"):
        wish(bench, "releases")


def test_an_authorisation_is_not_cleared_while_a_change_is_under_way(bench: Bench, toys: None) -> None:
    bench.wire.changes = [SILENCE]
    assert bench.go().state == U
    clearing = wish(bench, "clear_authorization")
    perform.perform(bench.app, clearing)
    assert states(bench, clearing) == [F]
    assert "正在进行" in bench.session.get_one(OperationRun, clearing).message
    change(bench.session, bench.run, state=S, lock=None)
    assert perform.perform(bench.app, clearing := wish(bench, "clear_authorization"))
    assert states(bench, clearing) == [S]


# Two at once on one row


def test_a_row_that_another_area_writes_during_the_call_loses_nothing_and_is_sent_once(
    bench: Bench, toys: None
) -> None:
    bench.ask(releases.__name__)
    other = wish(bench, "renames")

    def meanwhile() -> Mapping[str, Any]:
        assert perform.perform(bench.app, other)
        bench.wire.looks = [live("2.0.0")]
        return {"err_no": 0}

    bench.wire.changes = [meanwhile]
    assert bench.go().state == U
    assert bench.again().state == S
    assert states(bench, other) == [S]
    row = bench.session.get_one(MiniProgram, bench.row.id)
    assert (row.name, bench.wire.changed) == ("新名", 1)


def test_many_of_another_area_beside_a_whole_release(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer, toys: None
) -> None:
    """Over HTTP, in threads: each of them ends, whichever gives way to whichever."""
    loop = Loop(app, session, sandbox, launch)
    row_id = loop.row.id
    with ThreadPoolExecutor(1) as other:
        ended = [other.submit(lambda: work_off(app, wish_for(app, row_id, "renames"))) for _ in range(20)]
        go_live_meanwhile(loop)
        for one in ended:
            one.result()
    done = {name: loop.effects[name] for name in ("upload", "audit", "release")}
    assert done == {"upload": 1, "audit": 1, "release": 1}
    assert (loop.row.name, loop.row.live_version) == ("新名", "1.0.0")


def go_live_meanwhile(loop: Loop) -> None:
    for name, params in (
        ("upload_code", {"template_id": loop.launch.template_id, "version": "1.0.0", "description": "x"}),
        ("submit_audit", {}),
        ("release", {}),
    ):
        run = loop.do(name, **params)
        number = run.id
        refresh(loop.session)
        work_off(loop.app, number)
        if name == "submit_audit":
            loop.decide("approve")
            refresh(loop.session)


def work_off(app: Flask, run_id: int) -> None:
    """Try a run until it is over, as the dispatcher does."""
    for _ in range(100):
        perform.perform(app, run_id)
        with app_scope(app, PLATFORM) as session:
            run = session.get_one(OperationRun, run_id)
            if run.is_over:
                assert run.state == S, run.message
                return
    pytest.fail("it did not end")

"""Batches: counted, judged before a retry, and ended while they wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.models import AuditEntry, AuthorizationState, Door, MiniProgram, OperationRun, RunState
from app.operations import batches
from app.operations.batches import Judged
from app.operations.registry import find
from tests.conftest import Actors, change

Q, R, S, F, U = RunState.QUEUED, RunState.RUNNING, RunState.SUCCEEDED, RunState.FAILED, RunState.UNKNOWN
OLD = timedelta(days=1)


@pytest.fixture
def actors(session: Session, actors: Actors) -> Actors:
    """With mini-programs that are authorised."""
    for row in (actors.alice_app, actors.bob_app):
        change(session, row, state=AuthorizationState.AUTHORIZED, permissions=[1, 2, 3])
    return actors


def add(session: Session, row: MiniProgram, batch: str | None, state: RunState = Q, **values: Any) -> OperationRun:
    """A run of a batch on a row."""
    given = {"operation": "refresh_token", "door": Door.BATCH, "actor_id": 1, "actor_name": "王五"} | values
    key = f"mini_program:{row.id}"
    run = OperationRun(
        **{"subject_type": "mini_program", "subject_id": row.id, "lock_key": key, "batch_id": batch, "state": state}
        | given
    )
    session.add(run)
    session.commit()
    return run


@pytest.mark.parametrize("state", RunState)
def test_a_batch_is_open_while_a_run_of_it_is_not_over(session: Session, actors: Actors, state: RunState) -> None:
    add(session, actors.alice_app, "a", S)
    add(session, actors.alice_app, "a", state)
    assert batches.open_batches(session, None) == ({"a"} if state in {Q, R, U} else set())


def test_open_batches_are_of_one_user_or_of_all_and_never_single_runs(session: Session, actors: Actors) -> None:
    add(session, actors.alice_app, None)
    add(session, actors.alice_app, "a")
    add(session, actors.alice_app, "b", actor_id=2)
    assert batches.open_batches(session, None) == {"a", "b"}
    assert batches.open_batches(session, 2) == {"b"}
    assert batches.open_batches(session, 3) == set()


def test_the_latest_batches_come_first_and_single_runs_are_none(session: Session, actors: Actors) -> None:
    for batch in ("a", "b", "c", "a", None, None):
        add(session, actors.alice_app, batch)

    def ids(actor_id: int | None = None, limit: int = 10) -> list[str]:
        return [found.id for found in batches.batches(session, actor_id, within=OLD, limit=limit)]

    assert ids() == ["a", "c", "b"]
    assert ids(limit=2) == ["a", "c"]
    add(session, actors.alice_app, "d", actor_id=2)
    assert ids(2) == ["d"]
    assert ids(1) == ["a", "c", "b"]


def test_a_batch_is_latest_by_the_time_it_was_asked_for(
    session: Session, actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = utcnow().replace(microsecond=0)
    monkeypatch.setattr(batches, "utcnow", lambda: now)
    add(session, actors.alice_app, "a", created_at=now - OLD)
    add(session, actors.alice_app, "b", created_at=now - OLD + timedelta(seconds=1))
    assert [found.id for found in batches.batches(session, None, within=OLD, limit=10)] == ["b"]


def test_a_batch_is_told_in_numbers(session: Session, actors: Actors) -> None:
    began = utcnow().replace(microsecond=0) - timedelta(hours=1)
    for after, state in enumerate([F, Q, Q, R, S, S, S, F, U]):
        add(session, actors.alice_app, "a", state, created_at=began + timedelta(minutes=(after + 4) % 9))
    add(session, actors.bob_app, "b", S, operation="upload_code", actor_name="李四")
    second, first = batches.batches(session, None, within=OLD, limit=10)
    assert (first.operation, first.actor_name, first.created_at) == ("refresh_token", "王五", began)
    assert first.counts == {F: 2, Q: 2, R: 1, S: 3, U: 1}
    assert (first.total, first.done, first.failed, first.queued, first.over) == (9, 5, 2, 2, False)
    assert (second.operation, second.actor_name, second.counts) == ("upload_code", "李四", {S: 1})
    assert (second.total, second.done, second.failed, second.queued, second.over) == (1, 1, 0, 0, True)


def test_a_batch_whose_runs_differ_in_their_askers_words_is_one(session: Session, actors: Actors) -> None:
    at = utcnow().replace(microsecond=0)
    for name, hours in (("李", 1), ("王", 3), ("张", 2)):
        add(session, actors.alice_app, "a", S, actor_name=name, created_at=at - timedelta(hours=hours))
    (found,) = batches.batches(session, None, within=OLD, limit=10)
    assert (found.counts, found.created_at) == ({S: 3}, at - timedelta(hours=3))


# What a retry would help


def judged(session: Session, most: int | None = None) -> list[Judged]:
    return batches.judged(session, find("refresh_token"), "a", most=most)


def test_only_what_failed_of_the_batch_is_judged_in_its_order(session: Session, actors: Actors) -> None:
    runs = [add(session, actors.alice_app, "a", F), add(session, actors.bob_app, "a", F)]
    add(session, actors.alice_app, "b", F)
    for state in (Q, R, S, U):
        add(session, actors.alice_app, "a", state)
    expected = [Judged(run.id, run.subject_id) for run in runs]
    assert judged(session) == expected
    assert judged(session, 1) == expected[:1]
    assert batches.judged(session, find("refresh_token"), "none") == []


def test_more_rows_than_are_read_at_once_are_judged_all(
    session: Session, actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "CHUNK", 2)
    rows = [actors.alice_app, actors.bob_app, actors.alice_app, actors.bob_app, actors.alice_app]
    runs = [add(session, row, "a", F) for row in rows]
    assert judged(session) == [Judged(run.id, row.id) for run, row in zip(runs, rows, strict=True)]


@pytest.mark.parametrize(
    ("kind", "why", "asks"),
    [
        ("", "", False),
        ("state", "", False),
        ("system", "", False),
        ("parameter", "填写的内容不被接受，重试也不会成功", True),
        ("banned", "已被抖音封禁，重试也不会成功", False),
        ("capability", "小程序没有本操作需要的能力：请先在抖音开放平台申请", False),
        ("person", "因用户本身的原因被拒绝，重试也不会成功", False),
        ("fault", "系统调用的地址抖音不认得，升级之前重试也不会成功", False),
        ("retired", "抖音已停用这个接口，升级之前重试也不会成功", False),
    ],
)
def test_what_was_refused_for_good_says_why(session: Session, actors: Actors, kind: str, why: str, asks: bool) -> None:
    run = add(session, actors.alice_app, "a", F, error_kind=kind)
    assert judged(session) == [Judged(run.id, actors.alice_app.id, why, input=asks, gone=False)]


def test_a_row_that_is_gone_is_not_tried_again(session: Session, actors: Actors) -> None:
    run = add(session, actors.alice_app, "a", F, subject_id=10_000_000)
    assert judged(session) == [Judged(run.id, 10_000_000, "对象已被删除或不可见", input=False, gone=True)]


@pytest.mark.parametrize(
    ("kind", "granted", "why"),
    [
        ("authorization", [], "缺少权限「开发管理、基本信息设置」：请让商户重新授权并勾选"),
        ("authorization", [1, 2], ""),
        ("system", [], ""),
    ],
)
def test_missing_permissions_are_named_after_a_refusal_for_them(
    session: Session, actors: Actors, kind: str, granted: list[int], why: str
) -> None:
    change(session, actors.alice_app, permissions=granted)
    run = add(session, actors.alice_app, "a", F, error_kind=kind)
    assert judged(session) == [Judged(run.id, actors.alice_app.id, why)]


def test_a_refused_authorisation_of_what_has_no_permissions_is_tried_again(session: Session, actors: Actors) -> None:
    owner = actors.alice_app.third_party_app
    run = add(session, actors.alice_app, "a", F, subject_id=owner.id, error_kind="authorization")
    assert batches.judged(session, find("sync_templates"), "a") == [Judged(run.id, owner.id)]


def test_a_row_whose_state_refuses_now_says_so(session: Session, actors: Actors) -> None:
    asked: list[set[int]] = []

    def read(own: Session, rows: Sequence[MiniProgram]) -> dict[int, str]:
        assert own is session
        asked.append({row.id for row in rows})
        return {actors.bob_app.id: "还不行"}

    runs = [add(session, row, "a", F) for row in (actors.alice_app, actors.bob_app)]
    op = replace(find("refresh_token"), ready=lambda row, look: look.at(read, row))
    assert [one.why for one in batches.judged(session, op, "a")] == ["", "还不行"]
    assert asked == [{run.subject_id for run in runs}]
    change(session, actors.alice_app, state=AuthorizationState.REVOKED)
    assert "授权状态" in batches.judged(session, op, "a")[0].why


# Its end


def test_a_cancelled_batch_ends_only_what_waits(
    session: Session, actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    now: datetime = utcnow().replace(microsecond=0)
    monkeypatch.setattr(batches, "utcnow", lambda: now)
    batch = "0123456789abcdef"
    others = [add(session, actors.alice_app, batch, state) for state in (R, S, F, U)]
    foreign = add(session, actors.alice_app, "b")
    waiting = [add(session, row, batch, hold="app:1") for row in (actors.alice_app, actors.bob_app)]
    assert batches.cancel(session, batch, "王五") == 2
    session.expire_all()
    for run in waiting:
        assert (run.state, run.message, run.advice) == (F, "已取消", "由 王五 取消，之后没有发送")
        assert (run.finished_at, run.hold) == (now, "")
    assert [run.state for run in others] == [R, S, F, U]
    assert foreign.state == Q
    entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "cancel")).one()
    assert entry.after == {"subject_name": "批次 01234567", "rows": 2}


def test_a_batch_of_which_nothing_waits_is_cancelled_without_a_trace(session: Session, actors: Actors) -> None:
    add(session, actors.alice_app, "a", R)
    assert batches.cancel(session, "a", "王五") == 0
    assert session.scalars(select(AuditEntry).where(AuditEntry.action == "cancel")).all() == []


def test_a_cancelled_batch_stays_cancelled(session: Session, actors: Actors) -> None:
    run = add(session, actors.alice_app, "a")
    batches.cancel(session, "a", "王五")
    session.rollback()
    session.expire_all()
    assert run.state == F

"""Operations from the screens: what is touched is shown, nothing happens by GET, foreign rows do not exist."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import AuthorizationState, Door, MiniProgram, OperationRun, RunState
from app.operations.perform import perform
from app.operations.ready import obstacle
from app.operations.registry import OPERATIONS, Look
from tests.conftest import Actors, Launch, operate, refresh
from tests.pages import BATCH, submit, text_of, visible


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.console.operate.confirm.WAIT_SECONDS", 0.0)


def _runs(session: Session) -> list[OperationRun]:
    session.rollback()
    session.expire_all()
    return list(session.scalars(select(OperationRun).order_by(OperationRun.id)))


def _fleet(session: Session, actors: Actors, count: int) -> None:
    session.add_all(
        MiniProgram(
            merchant_id=actors.alice.id,
            third_party_app_id=actors.alice_app.third_party_app_id,
            appid=f"ttfleet{n:011d}",
            name=f"车队{n:03d}",
            state=AuthorizationState.AUTHORIZED,
        )
        for n in range(count)
    )
    session.commit()


def test_the_confirmation_names_the_row_and_changes_nothing(
    session: Session, launch: Launch, operator: FlaskClient
) -> None:
    page = text_of(operator, f"/operate/upload_code?ids={launch.mini_program.id}")
    assert launch.mini_program.appid in page
    assert launch.merchant.key in page  # the ext.json, shown before it is sent
    assert _runs(session) == []


def test_one_row_queues_one_run_and_leads_to_its_page(session: Session, launch: Launch, operator: FlaskClient) -> None:
    answer = submit(operator, f"/operate/upload_code?ids={launch.mini_program.id}", to="/operate/upload_code")
    (run,) = _runs(session)
    assert (run.operation, run.door, run.actor_name, run.state) == (
        "upload_code",
        Door.ROW,
        "operator0",
        RunState.QUEUED,
    )
    assert answer.headers["Location"].endswith(f"/operationrunview/show/{run.id}")
    assert '"over":false' in operator.get(f"/operationrunview/progress/{run.id}").get_data(as_text=True)


def test_a_finished_run_is_told_on_its_page(
    app: Flask, session: Session, launch: Launch, operator: FlaskClient
) -> None:
    submit(operator, f"/operate/upload_code?ids={launch.mini_program.id}", to="/operate/upload_code")
    run_id = _runs(session)[0].id
    perform(app, run_id)
    assert "成功" in text_of(operator, f"/operationrunview/show/{run_id}")
    assert "1.0.0" in text_of(operator, f"/miniprogramview/show/{launch.mini_program.id}")


def test_a_refused_parameter_is_told_beside_its_field_with_the_input_kept(
    session: Session, launch: Launch, operator: FlaskClient
) -> None:
    page = f"/operate/upload_code?ids={launch.mini_program.id}"
    answer = submit(operator, page, to="/operate/upload_code", version="1.0", description="别丢了我")
    text = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert "X.Y.Z" in text
    assert "别丢了我" in text
    assert _runs(session) == []


def test_all_that_match_are_taken_beyond_the_page(session: Session, actors: Actors, operator: FlaskClient) -> None:
    _fleet(session, actors, 130)
    page = "/operate/sync_app_info?all=1&view=MiniProgramView&q=车队"
    assert "130" in text_of(operator, page)
    answer = submit(operator, page, to="/operate/sync_app_info")
    assert len(_runs(session)) == 130
    batch = text_of(operator, answer.headers["Location"])
    assert "共 130 个" in batch
    counts = operator.get(answer.headers["Location"] + "/progress").get_json()
    assert counts == {"counts": {"queued": 130}, "over": False}


def test_a_set_that_changed_since_it_was_shown_is_confirmed_again(
    session: Session, actors: Actors, operator: FlaskClient
) -> None:
    _fleet(session, actors, 3)
    page = "/operate/sync_app_info?all=1&view=MiniProgramView&q=车队"
    answer = submit(operator, page, to="/operate/sync_app_info", count="2")
    assert answer.status_code == 409
    assert _runs(session) == []


@pytest.mark.parametrize(
    "query",
    ["", "ids=99999", "ids=x", "ids=1,99999", "all=1&view=Nothing", "all=1&view=VersionView", "ids=" + "9" * 30],
)
def test_what_does_not_exist_is_not_found(operator: FlaskClient, actors: Actors, query: str) -> None:
    text_of(operator, f"/operate/sync_app_info?{query}", 404)
    text_of(operator, f"/operate/nothing?{query}", 404)


def test_an_auditor_may_not_operate(session: Session, actors: Actors, client_for: Callable[..., FlaskClient]) -> None:
    text_of(client_for("auditor"), f"/operate/sync_app_info?ids={actors.alice_app.id}", 403)


def test_an_owner_never_reaches_a_foreign_row(
    app: Flask,
    session: Session,
    actors: Actors,
    client_for: Callable[..., FlaskClient],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(app.config, "OWNERS_MAY_SUBMIT", True)
    alice = client_for("owner", actors.alice)
    text_of(alice, f"/operate/submit_audit?ids={actors.alice_app.id}")
    text_of(alice, f"/operate/submit_audit?ids={actors.bob_app.id}", 404)
    text_of(alice, f"/operate/submit_audit?ids={actors.alice_app.id},{actors.bob_app.id}", 404)
    text_of(alice, f"/operate/release?ids={actors.alice_app.id}", 403)


def test_a_post_without_a_token_queues_nothing(session: Session, actors: Actors, operator: FlaskClient) -> None:
    answer = operator.post("/operate/sync_app_info", data={"ids": str(actors.alice_app.id), "count": "1"})
    assert answer.status_code == 400
    assert _runs(session) == []


def test_an_unknown_outcome_is_settled_by_a_persons_word(session: Session, full: Actors, operator: FlaskClient) -> None:
    run = session.scalars(select(OperationRun).where(OperationRun.state == RunState.UNKNOWN)).one()
    page = f"/operationrunview/show/{run.id}"
    assert "人工标记" in text_of(operator, page)
    submit(operator, page, to=f"/operationrunview/resolve/{run.id}", done="1")
    session.rollback()
    session.expire_all()
    assert session.get_one(OperationRun, run.id).state == RunState.SUCCEEDED


def test_a_failed_run_shows_what_to_do(session: Session, full: Actors, operator: FlaskClient) -> None:
    run = session.scalars(select(OperationRun).where(OperationRun.state == RunState.FAILED)).one()
    page = text_of(operator, f"/operationrunview/show/{run.id}")
    for words in ("次数已用完", "明天再试", "11305", "L1", "审核备注"):
        assert words in page


def test_a_batch_retries_only_what_failed(session: Session, full: Actors, operator: FlaskClient) -> None:
    run = session.scalars(select(OperationRun).where(OperationRun.batch_id == BATCH)).one()
    run.state, run.operation, run.params = RunState.FAILED, "sync_app_info", {}
    session.commit()
    answer = submit(operator, f"/batch/{BATCH}", to=f"/batch/{BATCH}/retry")
    again = _runs(session)[-1]
    assert again.batch_id != BATCH
    assert answer.headers["Location"].endswith(again.batch_id or "?")


def _off(page: str) -> str:
    """What a menu or page says cannot be done now."""
    return visible(page.partition('class="menu-off"')[2].partition("</div>")[0])


@pytest.mark.parametrize("path", ["miniprogramview/menu", "miniprogramview/show"])
def test_what_the_state_refuses_stands_apart_with_its_reason(
    session: Session, launch: Launch, operator: FlaskClient, path: str
) -> None:
    page = text_of(operator, f"/{path}/{launch.mini_program.id}")
    for name in ("upload_code", "sync_versions"):
        assert f"/operate/{name}?" in page
    for name in ("submit_audit", "withdraw_audit", "release", "rollback"):
        assert f"/operate/{name}?" not in page
    for words in ("提交审核", "还没有可提审的版本：请先上传代码", "没有正在审核的版本", "还没有线上版本，不能回滚"):
        assert words in _off(page)


def test_a_row_without_authorisation_says_so_once_for_all_that_need_it(
    session: Session, launch: Launch, operator: FlaskClient
) -> None:
    session.rollback()
    launch.mini_program.state = AuthorizationState.REVOKED
    session.commit()
    page = text_of(operator, f"/miniprogramview/menu/{launch.mini_program.id}")
    assert page.count("请先让商户完成授权") == 1
    assert "/operate/recover_authorization?" in page and "上传代码" in _off(page)


def test_words_and_truth_are_one_check(app: Flask, session: Session, launch: Launch) -> None:
    """Whatever a menu greys out, the run refuses with the same sentence and sends nothing."""
    row, look = launch.mini_program, Look(session, [launch.mini_program])
    offered = [op for op in OPERATIONS.values() if op.on is MiniProgram]
    greyed = {op.name: why for op in offered if (why := obstacle(op, row, look))}
    assert {"submit_audit", "withdraw_audit", "release", "rollback"} <= set(greyed)
    for name, why in greyed.items():
        refresh(session)
        run = operate(app, session, name, row)
        assert (run.state, run.message) == (RunState.FAILED, why)


def test_a_merchants_page_follows_the_state_too(
    app: Flask,
    session: Session,
    launch: Launch,
    client_for: Callable[..., FlaskClient],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(app.config, "OWNERS_MAY_SUBMIT", True)
    owner = client_for("owner", launch.merchant)
    page = text_of(owner, f"/myminiprogramview/show/{launch.mini_program.id}")
    assert "还没有可提审的版本：请先上传代码" in _off(page)
    assert "/operate/submit_audit" not in page


def _failed(session: Session, rows: list[MiniProgram], operation: str, kind: str) -> None:
    session.add_all(
        OperationRun(
            operation=operation,
            subject_type="mini_program",
            subject_id=row.id,
            mini_program_id=row.id,
            merchant_id=row.merchant_id,
            appid=row.appid,
            door=Door.BATCH,
            batch_id="b" * 32,
            params={},
            state=RunState.FAILED,
            lock_key=f"mini_program:{row.id}",
            error_kind=kind,
        )
        for row in rows
    )
    session.commit()


def test_a_retry_takes_only_what_can_succeed_and_says_what_to_do_with_the_rest(
    session: Session, actors: Actors, operator: FlaskClient
) -> None:
    _fleet(session, actors, 4)
    rows = list(session.scalars(select(MiniProgram).where(MiniProgram.name.like("车队%")).order_by(MiniProgram.id)))
    _failed(session, rows[:1], "sync_app_info", "quota")
    _failed(session, rows[1:3], "sync_app_info", "parameter")
    rows[3].state = AuthorizationState.REVOKED
    _failed(session, rows[3:], "sync_app_info", "system")
    page = visible(html := text_of(operator, f"/batch/{'b' * 32}"))
    assert "重试失败的 1 个" in page and "有 3 个对象重试也不会成功" in page
    assert f"/operate/sync_app_info?ids={rows[1].id}" in html and "请先让商户完成授权" in page
    answer = submit(operator, f"/batch/{'b' * 32}", to=f"/batch/{'b' * 32}/retry")
    assert [run.subject_id for run in _runs(session) if run.state == RunState.QUEUED] == [rows[0].id]
    assert "另外 3 个重试也不会成功" in visible(text_of(operator, answer.headers["Location"]))


def test_a_batch_that_no_retry_can_mend_has_no_button(session: Session, actors: Actors, operator: FlaskClient) -> None:
    _fleet(session, actors, 1)
    row = session.scalars(select(MiniProgram).where(MiniProgram.name == "车队000")).one()
    _failed(session, [row], "submit_audit", "state")
    assert "重试失败" not in (page := visible(text_of(operator, f"/batch/{'b' * 32}")))
    assert "还没有可提审的版本：请先上传代码" in page
    submit(operator, f"/batch/{'b' * 32}", to=f"/batch/{'b' * 32}/retry")
    assert len(_runs(session)) == 1

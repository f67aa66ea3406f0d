"""What an operation found is shown to whoever pressed the button: on the row's page, beside the list, in the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.jobs.dispatch import Dispatcher
from app.models import AuthorizationState, Merchant, MiniProgram, OperationRun
from app.operations.perform import perform
from tests.conftest import Launch, change, operate, refresh
from tests.pages import submit, text_of, visible


@pytest.fixture
def worker(app: Flask) -> Iterator[None]:
    dispatcher = Dispatcher(app)
    dispatcher.start()
    yield
    dispatcher.stop()


@pytest.fixture
def bobs(session: Session, launch: Launch) -> MiniProgram:
    """Another merchant's, which Douyin does not know."""
    merchant = Merchant(name="鲍勃面馆", industry=launch.merchant.industry)
    row = MiniProgram(
        merchant=merchant,
        third_party_app_id=launch.third_party_app.id,
        appid="ttbob0000000001",
        state=AuthorizationState.AUTHORIZED,
    )
    session.add(row)
    session.commit()
    return row


def newest(session: Session) -> OperationRun:
    refresh(session)
    return session.scalars(select(OperationRun).order_by(OperationRun.id.desc())).first()  # type: ignore[return-value]


def card(html: str) -> str:
    """What a page says an operation found; empty where it says nothing."""
    return visible(html.partition("data-answer>")[2].partition("</section>")[0])


@pytest.mark.parametrize(
    ("name", "table", "labels"),
    [
        ("sync_app_info", "mini_program", ["名称", "状态", "类目"]),
        ("sync_versions", "mini_program", ["变化", "没有变化"]),
        ("sync_templates", "third_party_app", ["模板小程序数", "草稿数", "模板数", "最新模板"]),
    ],
)
def test_the_rows_page_shows_what_was_read(
    session: Session, launch: Launch, operator: FlaskClient, worker: None, name: str, table: str, labels: list[str]
) -> None:
    row: Any = getattr(launch, table)
    answer = submit(operator, f"/operate/{name}?ids={row.id}", to=f"/operate/{name}")
    page = answer.headers["Location"]
    assert page.endswith(f"view/show/{row.id}?run={newest(session).id}")
    for _load in range(2):  # it is no message that is gone after the first look
        shown = card(text_of(operator, page))
        assert all(label in shown for label in labels), shown
    assert card(text_of(operator, page.partition("?")[0])) == ""


def test_the_runs_own_page_and_list_show_it(
    app: Flask, session: Session, launch: Launch, operator: FlaskClient
) -> None:
    row = launch.mini_program
    run = operate(app, session, "sync_app_info", row)
    shown = visible(text_of(operator, f"/operationrunview/show/{run.id}"))
    assert f"名称 {row.name}" in shown and "categories" not in shown
    assert f"名称 {row.name} · " in text_of(operator, "/operationrunview/list/")


def test_beside_the_list_stands_what_the_reader_has_just_read(
    app: Flask, session: Session, launch: Launch, client_for: Callable[..., FlaskClient], operator: FlaskClient
) -> None:
    row = launch.mini_program
    beside = f"/miniprogramview/show/{row.id}?drawer=1"
    assert card(text_of(operator, beside)) == ""
    submit(operator, f"/operate/sync_app_info?ids={row.id}", to="/operate/sync_app_info")
    run = newest(session)
    perform(app, run.id)
    assert f"名称 {row.name}" in card(text_of(operator, beside))
    assert card(text_of(client_for("platform_admin"), beside)) == ""  # somebody else's
    change(session, newest(session), finished_at=utcnow() - timedelta(minutes=11))
    assert card(text_of(operator, beside)) == ""


def test_the_batch_shows_what_each_row_gave(
    app: Flask, session: Session, launch: Launch, bobs: MiniProgram, operator: FlaskClient
) -> None:
    page = "/operate/sync_app_info?all=1&view=MiniProgramView"
    batch = submit(operator, page, to="/operate/sync_app_info").headers["Location"]
    for run in session.scalars(select(OperationRun)):
        perform(app, run.id)
    assert f"名称 {launch.mini_program.name} · " in visible(text_of(operator, batch))


@pytest.mark.parametrize("run", ["0", "x", "99999", "9" * 30, "-1"])
def test_an_address_that_names_no_run_shows_none(launch: Launch, operator: FlaskClient, run: str) -> None:
    assert card(text_of(operator, f"/miniprogramview/show/{launch.mini_program.id}?run={run}")) == ""


def test_a_run_of_another_row_is_not_shown(
    app: Flask, session: Session, launch: Launch, bobs: MiniProgram, client_for: Callable[..., FlaskClient]
) -> None:
    run = operate(app, session, "sync_app_info", launch.mini_program)
    admin = client_for("platform_admin")
    assert card(text_of(admin, f"/miniprogramview/show/{launch.mini_program.id}?run={run.id}")) != ""
    assert card(text_of(admin, f"/miniprogramview/show/{bobs.id}?run={run.id}")) == ""
    owner = client_for("owner", bobs.merchant)
    assert card(text_of(owner, f"/myminiprogramview/show/{bobs.id}?run={run.id}")) == ""


def test_names_stay_what_they_are_in_another_language(
    app: Flask, session: Session, launch: Launch, operator: FlaskClient
) -> None:
    """Of an answer only our own words are said in English; a shop that is called 停用 is called so."""
    run = operate(app, session, "sync_app_info", launch.mini_program)
    change(session, run, result={**run.result, "name": "停用", "state": 1})
    operator.set_cookie("locale", "en")
    shown = card(text_of(operator, f"/miniprogramview/show/{launch.mini_program.id}?run={run.id}"))
    assert "Name 停用" in shown and "Status Released" in shown, shown

"""What one person may ask for at once: tasks and their files, great selections, phone numbers kept in passing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from app.access import accounts, api_keys
from app.cli import setup
from app.console.transfer import pages
from app.data import storage
from app.data.clock import utcnow
from app.data.engine import writing
from app.data.tenancy import PLATFORM, app_scope
from app.errors import Refused
from app.models import ApiKey, AuditEntry, SavedView, Task, TaskKind, TaskState, User
from app.models.api_key import KeyScope
from app.models.kit.audit import Actor
from app.tasks import bulk, export, queue
from tests.conftest import PASSWORD, Actors, csrf_token, refresh
from tests.pages import visible

VIEWS = "/savedviews/of/MerchantView"


@pytest.fixture
def person(app: Flask, session: Session) -> User:
    with app_scope(app, PLATFORM) as own:
        setup.add_user(own, "asker", "operator", password=PASSWORD)
    return session.scalars(sa.select(User).where(User.username == "asker")).one()


def ask(session: Session, person: User) -> Task:
    with writing():
        refresh(session)
        actor = Actor(person.id, person.username)
        return queue.new_task(
            session,
            TaskKind.EXPORT,
            actor=actor,
            view="MerchantView",
            title="导出",
            params={"format": "csv"},
            input_key=export.keep_keys([1]),
        )


def test_nobody_fills_the_queue(app: Flask, session: Session, person: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "MOST_WAITING", 3)
    for _ in range(3):
        ask(session, person)
    gone: list[str] = []
    monkeypatch.setattr(storage, "delete", gone.append)
    with pytest.raises(Refused, match="3 个任务还没有结束"):
        ask(session, person)
    assert len(gone) == 1, "the file of a task that was refused stays behind"
    with writing():
        refresh(session)
        session.execute(sa.update(Task).values(state=TaskState.SUCCEEDED))
        session.commit()
    ask(session, person)


def test_nobody_fills_the_storage_in_a_day(
    app: Flask, session: Session, person: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "MOST_A_DAY", 2)
    for _ in range(2):
        task = ask(session, person)
        with writing():
            refresh(session)
            task.state = TaskState.SUCCEEDED
            session.commit()
    with pytest.raises(Refused, match="24 小时"):
        ask(session, person)
    with writing():
        refresh(session)
        session.execute(sa.update(Task).values(created_at=utcnow() - timedelta(days=2)))
        session.commit()
    ask(session, person)


def test_too_many_rows_at_once_are_refused_with_a_sentence(
    actors: Actors, operator_client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MOST", 1)
    monkeypatch.setattr(pages, "MOST_ROWS", 1)
    token = csrf_token(operator_client, VIEWS)
    answers = {
        "一次最多修改这么多": operator_client.get("/merchantview/bulk/?all=1"),
        "最多修改这么多": operator_client.post("/merchantview/bulk/", data={"csrf_token": token, "all": "1"}),
        "一次最多导出这么多": operator_client.post("/merchantview/export", data={"csrf_token": token}),
    }
    for words, answer in answers.items():
        page = visible(answer.get_data(as_text=True))
        assert 400 <= answer.status_code < 500 and answer.status_code != 404, answer.status
        assert words in page and "请先缩小筛选范围" in page


@pytest.fixture
def operator_client(client_for: Callable[..., FlaskClient]) -> FlaskClient:
    return client_for("operator")


@pytest.mark.parametrize("query", ["q=13800138000", "name=138-0013-8000,13912345678", "contact=%2B8613800138000"])
def test_a_view_keeps_no_phone_number(
    session: Session, actors: Actors, operator_client: FlaskClient, query: str
) -> None:
    def send(path: str, **values: str) -> str:
        data = {"csrf_token": csrf_token(operator_client, VIEWS), **values}
        return visible(operator_client.post(path, data=data, follow_redirects=True).get_data(as_text=True))

    query = query.replace("contact", "name")
    assert "不能保存在视图里" in send("/savedviews/save", view="MerchantView", name="查人", query=query)
    send("/savedviews/save", view="MerchantView", name="停用", query="state=suspended")
    refresh(session)
    [held] = session.scalars(sa.select(SavedView))
    assert "不能保存在视图里" in send(f"/savedviews/update/{held.id}", query=query)
    refresh(session)
    assert session.get_one(SavedView, held.id).query == "state=suspended"


def test_an_export_notes_what_was_asked_without_the_phone(
    session: Session, actors: Actors, operator_client: FlaskClient
) -> None:
    token = csrf_token(operator_client, VIEWS)
    operator_client.post("/merchantview/export?q=13800138000", data={"csrf_token": token, "format": "csv"})
    refresh(session)
    entry = session.scalars(sa.select(AuditEntry).where(AuditEntry.action == "export")).one()
    assert entry.after["filters"] == {"q": "138****8000"}


def test_whoever_is_disabled_ends_with_their_keys_and_tasks(app: Flask, session: Session, person: User) -> None:
    task = ask(session, person)
    with writing():
        refresh(session)
        task.state = TaskState.RUNNING
        first, _text = api_keys.create(session, person, "最早的", KeyScope.READ, 30)
        session.flush()
        session.add_all(
            ApiKey(user_id=person.id, name="旧", start="dz_", key_hash=f"h{n}", scopes=["read"], revoked_at=utcnow())
            for n in range(120)
        )
        session.commit()
        accounts.set_active(session, person, active=False)
        session.commit()
    refresh(session)
    assert session.get_one(ApiKey, first.id).revoked_at is not None
    assert session.get_one(Task, task.id).cancel_asked


def test_a_reason_that_names_a_cell_hides_its_phone(
    session: Session, actors: Actors, operator_client: FlaskClient
) -> None:
    from tests.console.transfer.test_import import checked, csv_of

    checked(operator_client, csv_of(["商户名称", "行业"], ["新店", "13800138000"]))
    refresh(session)
    found: Any = session.scalars(sa.select(Task.params)).one()
    assert "13800138000" not in str(found) and "138****8000" in str(found["errors"])

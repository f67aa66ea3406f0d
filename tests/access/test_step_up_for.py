"""What asks for the password again besides the account: what leaves the console, secrets, what goes live for many."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.data import storage
from app.data.clock import utcnow
from app.data.engine import writing
from app.models import (
    AuthorizationState,
    Door,
    MiniProgram,
    NotificationChannel,
    OperationRun,
    RunState,
    Task,
    TaskKind,
    TaskState,
    ThirdPartyApp,
    User,
)
from app.operations.registry import OPERATIONS
from tests.access.second import CONFIRM
from tests.conftest import PASSWORD, Actors, csrf_token
from tests.people import audit, found, post


def later(minutes: float) -> Any:
    return time_machine.travel(utcnow() + timedelta(minutes=minutes))


def test_an_export_asks_first_and_leads_back_to_the_list_as_it_was(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    client = client_for("operator")
    sent = {"format": "csv", "csrf_token": csrf_token(client, "/account/password")}
    path = "/merchantview/export?state=active"
    with later(21):
        answer = client.post(path, data=sent)
        assert answer.headers["Location"] == f"{CONFIRM}?next=/merchantview/list/?state%3Dactive"
        assert audit(session, "export") == []
        back = post(client, answer.headers["Location"], password=PASSWORD)
        assert back.headers["Location"] == "/merchantview/list/?state=active"
        assert client.post(path, data=sent).mimetype == "text/csv"
    assert len(audit(session, "export")) == 1


def test_who_does_not_want_to_goes_back_to_where_they_came_from(client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("operator")
    for came, back in (
        ("http://localhost/merchantview/list/?state=active", "/merchantview/list/?state=active"),
        ("http://localhost/account/confirm?next=/", "/account/security"),
        ("https://evil.example/merchantview/list/", "/account/security"),
        ("", "/account/security"),
    ):
        page = client.get(CONFIRM, headers={"Referer": came}).get_data(as_text=True)
        assert f'<a class="btn" href="{back}">取消</a>' in page, came


def test_every_list_that_exports_asks_first(app: Flask, actors: Actors, client_for: Callable[..., FlaskClient]) -> None:
    clients = [client_for("platform_admin"), client_for("owner", actors.alice)]
    tokens = [csrf_token(client, "/account/password") for client in clients]
    asked = set()
    with later(30):
        for name in app.extensions["tables"].exports:
            view = next(view for view in app.appbuilder.baseviews if view.endpoint == name)  # type: ignore[attr-defined]
            for client, sent in zip(clients, tokens, strict=True):
                answer = client.post(f"{view.route_base}/export", data={"format": "csv", "csrf_token": sent})
                assert answer.status_code in {302, 403}, name
                if answer.status_code == 302:
                    assert answer.headers["Location"].startswith(CONFIRM), name
                    asked.add(name)
    assert asked == set(app.extensions["tables"].exports)


def test_a_finished_export_is_not_fetched_by_a_session_left_open(
    app: Flask, session: Session, client_for: Callable[..., FlaskClient]
) -> None:
    client = client_for("operator")
    key = storage_of(app)
    task = Task(
        kind=TaskKind.EXPORT,
        user_id=found(session, "operator0").id,
        view="MerchantView",
        title="导出商户",
        state=TaskState.SUCCEEDED,
        output_key=key,
        output_name="商户.csv",
        expires_at=utcnow() + timedelta(days=1),
    )
    with writing():
        session.rollback()
        session.add(task)
        session.commit()
        path = f"/tasks/{task.id}/download"
    assert client.get(path).status_code == 200
    with later(30):
        assert client.get(path).headers["Location"] == f"{CONFIRM}?next=/tasks/"


def storage_of(app: Flask) -> str:
    with app.app_context():
        return str(storage.put_sealed("exports", "名称\n花店\n".encode()))


def test_a_third_party_apps_secrets_are_not_changed_by_a_session_left_open(
    session: Session, third_party_app: ThirdPartyApp, client_for: Callable[..., FlaskClient]
) -> None:
    admin, base, key = client_for("platform_admin"), "/thirdpartyappview", third_party_app.id
    sent = {
        "csrf_token": csrf_token(admin, "/account/password"),
        "name": "别的",
        "appid": third_party_app.appid,
        "secret": "a-secret-of-somebody-else-0001",
        "token": "otherToken01",
        "aes_key": "A" * 43,
    }
    before = third_party_app.secret_sealed
    with later(30):
        for path in (f"{base}/add", f"{base}/edit/{key}", f"{base}/delete/{key}"):
            assert admin.get(path).headers["Location"].startswith(CONFIRM), path
            assert admin.post(path, data=sent).headers["Location"].startswith(CONFIRM), path
        assert admin.post(f"{base}/revert/{key}/1", data=sent).headers["Location"].startswith(CONFIRM)
        session.rollback()
        session.expire_all()
        assert session.get_one(ThirdPartyApp, key).secret_sealed == before
        post(admin, CONFIRM, password=PASSWORD)
        assert admin.get(f"{base}/edit/{key}").status_code == 200


def test_an_account_for_a_merchant_is_not_made_by_a_session_left_open(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    """Its link opens for years what the session opens for hours."""
    client = client_for("operator")
    sent = {"csrf_token": csrf_token(client, "/account/password"), "username": "ghost", "roles": "owner"}
    path = f"/staff/add?merchant={actors.alice.id}"
    with later(30):
        assert client.post(path, data=sent).headers["Location"].startswith(CONFIRM)
    session.rollback()
    assert session.scalar(select(User.id).where(User.username.startswith("ghost"))) is None


@pytest.mark.parametrize(("count", "asks"), [(20, False), (21, True)])
@pytest.mark.parametrize("operation", ["release", "rollback", "sync_versions"])
def test_many_at_once_go_live_after_the_password_only(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient], operation: str, count: int, asks: bool
) -> None:
    client, asks = client_for("operator"), asks and operation != "sync_versions"
    ids = [row.id for row in fleet(session, actors, count)]
    query = "&".join(f"ids={key}" for key in ids)
    sent = {
        "csrf_token": csrf_token(client, "/account/password"),
        "ids": [str(key) for key in ids],
        "count": str(count),
    }
    path = f"/operate/{operation}?{query}"
    with later(30):
        page, answer = client.get(path), client.post(f"/operate/{operation}", data=sent)
        runs = lambda: session.scalar(select(func.count(OperationRun.id)))  # noqa: E731
        session.rollback()
        if not asks:
            assert (page.status_code, answer.status_code, runs()) == (200, 302, count)
            return
        assert page.headers["Location"].startswith(CONFIRM)
        assert (answer.headers["Location"].startswith(CONFIRM), runs()) == (True, 0)
        back = post(client, answer.headers["Location"], password=PASSWORD).headers["Location"]
        assert back == path  # the same page again, with the same rows
        assert client.get(back).status_code == 200
        assert client.post(f"/operate/{operation}", data=sent).headers["Location"].startswith("/batch/")
        session.rollback()
        assert runs() == count


def test_all_that_match_lead_back_to_all_that_match(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    client = client_for("operator")
    fleet(session, actors, 25)
    sent = {
        "csrf_token": csrf_token(client, "/account/password"),
        "all": "1",
        "view": "MiniProgramView",
        "query": "state=authorized",
        "count": "25",
    }
    with later(30):
        answer = client.post("/operate/release", data=sent)
        back = post(client, answer.headers["Location"], password=PASSWORD).headers["Location"]
        assert "25" in client.get(back).get_data(as_text=True)


def test_a_retry_for_many_asks_too(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_for("operator")
    monkeypatch.setitem(OPERATIONS, "rollback", dataclasses.replace(OPERATIONS["rollback"], ready=None))
    rows = fleet(session, actors, 21)
    batch = "b" * 32
    with writing():
        session.rollback()
        session.add_all(
            OperationRun(
                operation="rollback",
                subject_type="mini_program",
                subject_id=row.id,
                mini_program_id=row.id,
                merchant_id=row.merchant_id,
                appid=row.appid,
                door=Door.BATCH,
                batch_id=batch,
                params={},
                state=RunState.FAILED,
                lock_key="",
                error_kind="",
            )
            for row in rows
        )
        session.commit()
    sent = {"csrf_token": csrf_token(client, "/account/password")}
    with later(30):
        assert client.post(f"/batch/{batch}/retry", data=sent).headers["Location"].startswith(CONFIRM)


def fleet(session: Session, actors: Actors, count: int) -> list[MiniProgram]:
    """So many mini-programs of alice that could be operated on."""
    with writing():
        session.rollback()
        rows = [
            MiniProgram(
                merchant_id=actors.alice.id,
                third_party_app_id=actors.alice_app.third_party_app_id,
                appid=f"ttf{number:015d}",
                name=f"店 {number}",
                state=AuthorizationState.AUTHORIZED,
            )
            for number in range(count)
        ]
        session.add_all(rows)
        session.commit()
    return rows


FEISHU = "https://open.feishu.cn/open-apis/bot/v2/hook/0a1b2c3d4e5f60718293a4b5c6d7e8f9"


def test_where_news_go_and_what_signs_them_asks_first(session: Session, client_for: Callable[..., FlaskClient]) -> None:
    client, add = client_for("operator"), "/notices/settings/channels/add/feishu"
    assert post(client, add, name="群", url=FEISHU, secret="feishuSecret99").status_code == 302
    [before] = session.execute(select(NotificationChannel.id, NotificationChannel.address_sealed)).all()
    session.rollback()
    edit = f"/notices/settings/channels/{before.id}"
    sent = {"name": "群", "url": "", "secret": "another", "csrf_token": csrf_token(client, "/account/")}
    with later(21):
        for path in (add, edit):
            assert client.get(path).headers["Location"].startswith(CONFIRM)
            assert client.post(path, data=sent | {"url": FEISHU}).headers["Location"].startswith(CONFIRM)
        assert session.scalars(select(NotificationChannel.address_sealed)).all() == [before.address_sealed]
        session.rollback()
        post(client, CONFIRM, password=PASSWORD)
        assert client.post(edit, data=sent).status_code == 302
    assert session.scalars(select(NotificationChannel.address_sealed)).one() != before.address_sealed

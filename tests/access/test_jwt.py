"""Log-in for machines: tokens, what they are bound to, and bodies that are none."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from flask_jwt_extended import create_access_token, create_refresh_token
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access import accounts
from app.data.clock import utcnow
from app.models import MerchantState, Notification, WebSession
from tests.access.second import enrol, make_key, with_key
from tests.conftest import PASSWORD, Actors, change, log_in
from tests.people import NEW, audit, bearer, found, post, token

LIST = "/api/v1/merchants/"


def test_a_token_opens_the_api(app: Flask, actors: Actors, user: Callable[..., str]) -> None:
    client = app.test_client()
    answer = client.get(LIST, headers=bearer(client, user("bob", "operator")))
    assert answer.status_code == 200
    assert answer.get_json()["count"] == 2


def test_lists_name_their_columns_in_chinese(app: Flask, actors: Actors, user: Callable[..., str]) -> None:
    client = app.test_client()
    header = bearer(client, user("bob", "operator"))
    for path in ("merchants", "mini_programs", "versions"):
        told = client.get(f"/api/v1/{path}/", headers=header).get_json()
        said = {told["list_title"], *told["label_columns"].values()}
        assert set(told["label_columns"]) == set(told["list_columns"])
        assert not [text for text in said if text.isascii()], path


def test_no_token_no_answer(app: Flask, client_for: Callable[..., FlaskClient]) -> None:
    assert app.test_client().get(LIST).status_code == 401
    assert client_for("operator").get(LIST).status_code == 401  # a cookie is no token


def test_the_token_counts_and_not_the_cookie_beside_it(
    app: Flask, actors: Actors, user: Callable[..., str], client_for: Callable[..., FlaskClient]
) -> None:
    admin = client_for("platform_admin")
    header = bearer(app.test_client(), user("ann", "owner", actors.alice))
    assert admin.get(LIST, headers=header).status_code == 403


def test_merchants_people_get_no_list_of_merchants(app: Flask, actors: Actors, user: Callable[..., str]) -> None:
    client = app.test_client()
    assert client.get(LIST, headers=bearer(client, user("ann", "owner", actors.alice))).status_code == 403


@pytest.mark.parametrize("end", ["disable", "reset", "role"])
def test_a_token_dies_with_its_credential(app: Flask, session: Session, user: Callable[..., str], end: str) -> None:
    client = app.test_client()
    header = bearer(client, user("bob", "operator"))
    bob = found(session, "bob")
    if end == "disable":
        accounts.set_active(session, bob, active=False)
    elif end == "reset":
        accounts.reset_password(session, bob)
    else:
        accounts.change_roles(session, bob, ["auditor"])
    session.commit()
    assert client.get(LIST, headers=header).status_code == 401


REFRESH, LOGOUT = "/api/v1/security/refresh", "/api/v1/security/logout"


def as_bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def begun(client: FlaskClient, name: str) -> tuple[dict[str, str], dict[str, str]]:
    """The headers of an access and of a refresh token."""
    given = token(client, name, refresh=True).get_json()
    return as_bearer(given["access_token"]), as_bearer(given["refresh_token"])


def opens(client: FlaskClient, header: dict[str, str]) -> bool:
    return client.get(LIST, headers=header).status_code == 200


def renewed(client: FlaskClient, header: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    given = client.post(REFRESH, headers=header).get_json()
    return as_bearer(given["access_token"]), as_bearer(given["refresh_token"])


def rows(session: Session) -> list[WebSession]:
    session.rollback()
    return list(session.scalars(select(WebSession).execution_options(populate_existing=True)))


def test_a_log_in_is_a_session_of_which_only_a_hash_is_kept(
    app: Flask, session: Session, user: Callable[..., str]
) -> None:
    header, _ = begun(app.test_client(), user("bob", "operator"))
    name = decode_token(header["Authorization"][7:], app)["sid"]
    [row] = rows(session)
    assert (row.kind, row.user_id, row.address) == ("api", found(session, "bob").id, "127.0.0.1")
    assert row.id_hash == hashlib.sha256(name.encode()).hexdigest()


def decode_token(text: str, app: Flask) -> dict[str, Any]:
    from flask_jwt_extended import decode_token as decode

    with app.app_context():
        return dict(decode(text))


def test_the_name_of_an_api_session_is_no_cookie(app: Flask, user: Callable[..., str]) -> None:
    header, _ = begun(app.test_client(), user("bob", "operator"))
    client = app.test_client()
    client.set_cookie("douzhou", decode_token(header["Authorization"][7:], app)["sid"])
    assert client.get("/account/").status_code == 302


def test_a_browsers_session_is_no_token(app: Flask, session: Session, user: Callable[..., str]) -> None:
    client = app.test_client()
    log_in(client, user("bob", "operator"))
    cookie = client.get_cookie("douzhou")
    assert cookie is not None
    with app.app_context():
        forged = create_access_token(str(found(session, "bob").id), additional_claims={"gen": 0, "sid": cookie.value})
    assert not opens(client, as_bearer(forged))


@pytest.mark.parametrize("claims", [{}, {"gen": 0}, {"sid": "x"}, {"gen": 0, "sid": None}, {"gen": 0, "sid": ["x"]}])
def test_a_token_without_a_session_opens_nothing(
    app: Flask, session: Session, user: Callable[..., str], claims: dict[str, Any]
) -> None:
    user("bob", "operator")
    with app.app_context():
        old = create_access_token(str(found(session, "bob").id), additional_claims=claims)
        refresh = create_refresh_token(str(found(session, "bob").id), additional_claims=claims)
    assert not opens(app.test_client(), as_bearer(old))
    assert app.test_client().post(REFRESH, headers=as_bearer(refresh)).status_code == 401


def test_a_refresh_token_counts_once_and_gives_the_next(app: Flask, user: Callable[..., str]) -> None:
    client = app.test_client()
    access, refresh = begun(client, user("bob", "operator"))
    for _ in range(3):
        access, refresh = renewed(client, refresh)
        assert opens(client, access)


def test_a_refresh_token_that_comes_again_ends_the_log_in_and_the_user_is_told(
    app: Flask, session: Session, user: Callable[..., str]
) -> None:
    client = app.test_client()
    _, stolen = begun(client, user("bob", "operator"))
    access, refresh = renewed(client, stolen)
    other, _ = begun(client, "bob")
    assert client.post(REFRESH, headers=stolen).status_code == 401
    assert not opens(client, access)
    assert client.post(REFRESH, headers=refresh).status_code == 401
    assert opens(client, other)  # another log-in is none of its business
    assert len(audit(session, "refresh_reused")) == 1
    number = found(session, "bob").id
    told = session.scalars(select(Notification.title).where(Notification.user_id == number)).all()
    assert told == ["刷新令牌被重复使用，已结束登录"]


def test_of_several_at_once_with_one_refresh_token_one_gets_the_next(app: Flask, user: Callable[..., str]) -> None:
    _, refresh = begun(app.test_client(), user("bob", "operator"))
    start = threading.Barrier(4)

    def use(_number: int) -> int:
        start.wait(10)
        return app.test_client().post(REFRESH, headers=refresh).status_code

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(use, range(4)))
    assert sorted(answers) == [200, 401, 401, 401]


def test_an_access_token_refreshes_nothing_and_a_refresh_token_opens_nothing(
    app: Flask, user: Callable[..., str]
) -> None:
    client = app.test_client()
    access, refresh = begun(client, user("bob", "operator"))
    assert client.post(REFRESH, headers=access).status_code in {401, 422}
    assert not opens(client, refresh)


def test_no_refresh_makes_a_log_in_longer_than_thirty_days(app: Flask, user: Callable[..., str]) -> None:
    client = app.test_client()
    _, refresh = begun(client, user("bob", "operator"))
    for days in (10, 20, 29):
        with time_machine.travel(utcnow() + timedelta(days=days), tick=False):
            _, refresh = renewed(client, refresh)
    with time_machine.travel(utcnow() + timedelta(days=30, minutes=1), tick=False):
        assert client.post(REFRESH, headers=refresh).status_code == 401


@pytest.mark.parametrize("which", [0, 1])
def test_logging_out_ends_access_and_refresh_tokens(
    app: Flask, session: Session, user: Callable[..., str], which: int
) -> None:
    client = app.test_client()
    headers = begun(client, user("bob", "operator"))
    assert client.post(LOGOUT, headers=headers[which]).status_code == 200
    assert not opens(client, headers[0])
    assert client.post(REFRESH, headers=headers[1]).status_code == 401
    assert client.post(LOGOUT, headers=headers[which]).status_code == 401
    assert [row.actor_name for row in audit(session, "logout")] == ["bob"]


ENDS: dict[str, Callable[[FlaskClient, Session], Any]] = {
    "one": lambda client, session: post(
        client,
        "/account/sessions/end",
        "/account/password",
        session=next(row.id_hash[:16] for row in rows(session) if row.kind == "api"),
    ),
    "others": lambda client, session: post(client, "/account/sessions/end", "/account/password"),
    "password": lambda client, session: post(
        client, "/account/password", old_password=PASSWORD, password=NEW, again=NEW
    ),
    "second": lambda client, session: enrol(client),
    "second reset": lambda client, session: (
        enrol(client),
        accounts.reset_second_factor(session, found(session, "bob")),
    ),
    "role": lambda client, session: accounts.change_roles(session, found(session, "bob"), ["auditor"]),
    "disable": lambda client, session: accounts.set_active(session, found(session, "bob"), active=False),
    "reset": lambda client, session: accounts.reset_password(session, found(session, "bob")),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_api_is_ended_by_the_same_acts_as_a_browser(
    app: Flask, session: Session, user: Callable[..., str], end: str
) -> None:
    client, machine = app.test_client(), app.test_client()
    log_in(client, user("bob", "operator"))
    access, refresh = begun(machine, "bob")
    page = client.get("/account/security").get_data(as_text=True)
    assert page.count("127.0.0.1") == 2
    assert ">接口<" in page
    ENDS[end](client, session)
    session.commit()
    assert not opens(machine, access)
    assert machine.post(REFRESH, headers=refresh).status_code == 401
    assert [row.kind for row in rows(session) if row.kind == "api"] == []


def test_suspending_the_merchant_shuts_it(
    app: Flask, session: Session, actors: Actors, user: Callable[..., str]
) -> None:
    access, refresh = begun(app.test_client(), user("ann", "owner", actors.alice))
    change(session, actors.alice, state=MerchantState.SUSPENDED)
    assert app.test_client().get("/api/v1/operations/1", headers=access).status_code == 401
    assert app.test_client().post(REFRESH, headers=refresh).status_code == 401


def test_ending_the_others_may_end_the_keys_too(app: Flask, session: Session, user: Callable[..., str]) -> None:
    client = app.test_client()
    log_in(client, user("bob", "operator"))
    key = with_key(make_key(client))
    post(client, "/account/sessions/end", "/account/password")
    assert opens(app.test_client(), key)
    assert "同时撤销 1 个 API 密钥" in client.get("/account/security").get_data(as_text=True)
    post(client, "/account/sessions/end", "/account/password", keys="1")
    assert not opens(app.test_client(), key)


def test_when_a_token_was_last_used_is_seen(app: Flask, session: Session, user: Callable[..., str]) -> None:
    client = app.test_client()
    access, _ = begun(client, user("bob", "operator"))
    before = rows(session)[0].seen_at
    assert opens(client, access)
    assert rows(session)[0].seen_at == before  # not at every request
    with time_machine.travel(utcnow() + timedelta(minutes=6)):
        assert opens(client, access)
    assert rows(session)[0].seen_at - before > timedelta(minutes=5)


def test_a_token_ends_after_half_an_hour(app: Flask, user: Callable[..., str]) -> None:
    client = app.test_client()
    header = bearer(client, user("bob", "operator"))
    with time_machine.travel(utcnow() + timedelta(minutes=31)):
        assert client.get(LIST, headers=header).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"1",
        b'"x"',
        b"{}",
        b'{"username": "bob"}',
        b'{"username": 1, "password": 2}',
        b'{"username": "bob", "password": null}',
        b'{"username": "bob", "password": ""}',
        b'{"username": {"a": 1}, "password": "x"}',
        b'{"username": "bob", "password": "x", "provider": "ldap"}',
        b'{"username": "bob", "password": "x", "provider": []}',
        b'{"username": "bob", "password": "x", "refresh": "x"}',
        b'{"username": "\\u0000", "password": "x"}',
        b'{"username": "\\ud800", "password": "x"}',
        b'{"username": "bob", "password": "\\ud800"}',
        b"[" * 60_000,
        b"\xff\xfe",
        b'{"username": "' + b"x" * 300 + b'", "password": "x"}',
    ],
)
def test_malformed_bodies_are_refused(app: Flask, body: bytes) -> None:
    answer = app.test_client().post("/api/v1/security/login", data=body, content_type="application/json")
    assert answer.status_code == 400
    assert answer.get_json()["message"]


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Bearer x", "Bearer a.b.c", "Bearer " + "x" * 5000, "Basic eDp5", "Bearer é"],
)
def test_malformed_tokens_are_refused(app: Flask, header: str) -> None:
    answer = app.test_client().get(LIST, headers={"Authorization": header})
    assert answer.status_code in {401, 422}


def test_a_form_body_is_no_log_in(app: Flask) -> None:
    data: dict[str, Any] = {"username": "bob", "password": PASSWORD}
    assert app.test_client().post("/api/v1/security/login", data=data).status_code == 400


def test_logging_in_by_form_gives_no_token_and_the_reverse(app: Flask, user: Callable[..., str]) -> None:
    client, name = app.test_client(), user("bob", "operator")
    token(client, name)
    assert client.get("/account/").status_code == 302
    log_in(client, name)
    assert client.get("/account/").status_code == 200


def test_a_password_that_must_be_changed_comes_first(app: Flask, session: Session, user: Callable[..., str]) -> None:
    client = app.test_client()
    access, refresh = begun(client, user("bob", "operator"))
    change(session, found(session, "bob"), must_change_password=True)
    assert not opens(client, access)
    assert client.post(REFRESH, headers=refresh).status_code == 401
    assert token(client, "bob").status_code == 403

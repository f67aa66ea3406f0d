"""Logging in: one sentence for every failure, the throttle, where it leads, and what the audit log keeps."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.access.throttle import PER_ADDRESS, PER_USER
from app.data.clock import utcnow
from app.models import LoginAttempt
from tests.conftest import PASSWORD, Actors, csrf_token, log_in
from tests.people import attempt, audit, found, post, token

BAD = "用户名或密码不正确"


def test_unknown_name_wrong_password_and_disabled_user_look_alike(
    app: Flask, session: Session, user: Callable[..., str]
) -> None:
    user("bob", "operator")
    found(session, user("carol", "operator")).active = False
    session.commit()
    client = app.test_client()
    answers = [attempt(client, "nobody"), attempt(client, "bob", "wrong password!"), attempt(client, "carol")]
    assert {answer.status_code for answer in answers} == {401}
    assert all(BAD in answer.get_data(as_text=True) for answer in answers)


def test_the_sixth_failure_is_told_to_wait_even_with_the_right_password(app: Flask, user: Callable[..., str]) -> None:
    name, client = user("bob", "operator"), app.test_client()
    for _ in range(PER_USER):
        assert attempt(client, name, "wrong password!").status_code == 401
    answer = attempt(client, name)
    assert answer.status_code == 429
    assert "15 分钟后再试" in answer.get_data(as_text=True)


def test_form_and_api_share_the_count(app: Flask, user: Callable[..., str]) -> None:
    name, client = user("bob", "operator"), app.test_client()
    for _ in range(PER_USER):
        assert token(client, name, "wrong password!").status_code == 401
    assert token(client, name).status_code == 429
    assert attempt(client, name.upper()).status_code == 429


def test_failures_at_a_known_device_leave_a_strangers_allowance_whole(app: Flask, user: Callable[..., str]) -> None:
    name, known = user("bob", "operator"), app.test_client()
    log_in(known, name)
    post(known, "/logout/", "/account/password")
    for _ in range(PER_USER):
        assert attempt(known, name, "wrong password!").status_code == 401
    assert attempt(known, name).status_code == 429
    elsewhere = app.test_client()
    for _ in range(PER_USER):
        assert attempt(elsewhere, name, "wrong password!").status_code == 401
    assert attempt(elsewhere, name).status_code == 429


def test_unknown_names_are_throttled_too(app: Flask) -> None:
    client = app.test_client()
    codes = [token(client, "nobody", "wrong").status_code for _ in range(PER_USER + 1)]
    assert codes == [401] * PER_USER + [429]


def test_an_address_is_throttled_over_many_names(app: Flask) -> None:
    client = app.test_client()
    codes = [token(client, f"name{number}", "wrong").status_code for number in range(PER_ADDRESS + 1)]
    assert codes == [401] * PER_ADDRESS + [429]


def test_the_wait_ends(app: Flask, user: Callable[..., str]) -> None:
    name, client = user("bob", "operator"), app.test_client()
    for _ in range(PER_USER + 1):
        token(client, name, "wrong password!")
    with time_machine.travel(utcnow() + timedelta(minutes=16)):
        assert token(client, name).status_code == 200


def test_success_forgives_the_users_failures(app: Flask, session: Session, user: Callable[..., str]) -> None:
    name, client = user("bob", "operator"), app.test_client()
    attempt(client, name, "wrong password!")
    log_in(client, name)
    assert session.scalar(select(func.count()).select_from(LoginAttempt)) == 0


def test_names_are_found_whatever_their_case(app: Flask, user: Callable[..., str]) -> None:
    user("bob", "operator")
    assert attempt(app.test_client(), " BOB ").status_code == 302


def test_a_platform_role_with_a_merchant_is_let_in_nowhere(
    app: Flask, session: Session, actors: Actors, user: Callable[..., str]
) -> None:
    found(session, user("bob", "operator")).merchant_id = actors.alice.id
    session.commit()
    assert attempt(app.test_client(), "bob").status_code == 401


def test_a_merchants_role_without_a_merchant_is_let_in_nowhere(
    app: Flask, session: Session, actors: Actors, user: Callable[..., str]
) -> None:
    found(session, user("ann", "owner", actors.alice)).merchant_id = None
    session.commit()
    assert attempt(app.test_client(), "ann").status_code == 401


@pytest.mark.parametrize(
    ("asked", "reached"),
    [
        ("/account/", "/account/"),
        ("/users/list/?page=2", "/users/list/?page=2"),
        ("http://localhost/account/", "/account/"),
        ("http://evil.example/account/", "/"),
        ("//evil.example/", "/"),
        ("///evil.example/", "/evil.example/"),  # a path of ours
        ("/\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("\thttps://evil.example", "/"),
        ("http:///evil.example", "/"),
        ("http://[bad", "/"),
        ("/login/", "/"),
    ],
)
def test_next_stays_on_this_site(app: Flask, user: Callable[..., str], asked: str, reached: str) -> None:
    client, name = app.test_client(), user("bob", "platform_admin")
    data = {"username": name, "password": PASSWORD, "csrf_token": csrf_token(client)}
    answer = client.post("/login/", query_string={"next": asked}, data=data)
    assert (answer.status_code, answer.headers["Location"]) == (302, reached)


def test_log_in_failure_and_log_out_are_in_the_audit_log(
    app: Flask, session: Session, user: Callable[..., str]
) -> None:
    name, client = user("bob", "operator"), app.test_client()
    attempt(client, name, "wrong password!")
    attempt(client, "no-such-user-or-a-password")
    log_in(client, name)
    client.post("/logout/", data={"csrf_token": csrf_token(client, "/account/password")})
    [login], [logout] = audit(session, "login"), audit(session, "logout")
    assert (login.actor_name, login.subject_name, login.address) == (name, name, "127.0.0.1")
    assert (logout.actor_name, logout.subject_name) == (name, name)
    assert [row.subject_name for row in audit(session, "login_failed")] == [name, ""]


def test_the_page_is_chinese_and_not_kept(app: Flask) -> None:
    answer = app.test_client().get("/login/")
    assert "登录" in answer.get_data(as_text=True)
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("name", ["\x00", "a\x00b", "x" * 128, "名字", "' OR 1=1 --", "\ud83d\ude00"])
def test_odd_names_and_passwords_are_just_wrong(app: Flask, name: str) -> None:
    client = app.test_client()
    data = {
        "username": name.encode("utf-8", "replace"),
        "password": "x" * 128,
        "csrf_token": csrf_token(client),
    }
    assert client.post("/login/", data=data).status_code in {400, 401}

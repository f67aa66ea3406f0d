"""Passwords: which are taken, and what a change ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from app.access import accounts, passwords
from app.errors import Refused
from tests.conftest import PASSWORD, Actors, log_in
from tests.people import NEW, attempt, audit, bearer, found, post


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short-one", "至少要 12"),
        ("password1234", "太常见"),
        ("qwertyuiop12", "太常见"),
        ("aaaaaaaaaaaaaa", "太常见"),
        ("my-Bobby-lamps-drift", "用户名"),
        ("x" * 129, "最多 128"),
        ("quiet lamps\x00drift", "不能输入"),
    ],
)
def test_weak_passwords_are_refused_with_the_reason(password: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        passwords.check_password_strength(password, "bobby")


def test_a_phrase_is_taken() -> None:
    passwords.check_password_strength(NEW, "bobby")


def test_made_up_passwords_pass_the_rule() -> None:
    for _ in range(50):
        passwords.check_password_strength(passwords.new_password(), "operator")


def change(client: FlaskClient, old: str, new: str, again: str | None = None) -> Any:
    return post(client, "/account/password", old_password=old, password=new, again=again or new)


def test_a_change_ends_other_sessions_and_tokens_and_keeps_this_one(app: Flask, user: Callable[..., str]) -> None:
    name = user("bob", "operator")
    here, there, machine = app.test_client(), app.test_client(), app.test_client()
    log_in(here, name)
    log_in(there, name)
    header = bearer(machine, name)
    assert machine.get("/api/v1/merchants/", headers=header).status_code == 200
    assert change(here, PASSWORD, NEW).status_code == 302
    assert here.get("/account/").status_code == 200
    assert there.get("/account/").status_code == 302
    assert machine.get("/api/v1/merchants/", headers=header).status_code == 401
    assert attempt(app.test_client(), name).status_code == 401
    assert attempt(app.test_client(), name, NEW).status_code == 302


@pytest.mark.parametrize(
    ("old", "new", "again", "why"),
    [
        ("not the old one", NEW, None, "当前密码不正确"),
        (PASSWORD, "short", None, "至少要 12"),
        (PASSWORD, PASSWORD, None, "与当前密码相同"),
        (PASSWORD, NEW, "something else", "不一致"),
        ("", NEW, None, "请填写当前密码"),
    ],
)
def test_a_refused_change_says_why(
    app: Flask, user: Callable[..., str], old: str, new: str, again: str, why: str
) -> None:
    client, name = app.test_client(), user("bob", "operator")
    log_in(client, name)
    answer = change(client, old, new, again)
    assert answer.status_code == 422
    assert why in answer.get_data(as_text=True)
    assert attempt(app.test_client(), name).status_code == 302


def test_all_that_is_wrong_with_a_new_password_is_said_at_once(app: Flask, user: Callable[..., str]) -> None:
    client = app.test_client()
    log_in(client, user("bob", "operator"))
    page = change(client, "", "short", "other").get_data(as_text=True)
    for sentence in ("请填写当前密码", "至少要 12", "不一致"):
        assert sentence in page, sentence
    assert "不能含有用户名" in change(client, PASSWORD, f"{NEW}-bob").get_data(as_text=True)


def test_guesses_of_the_old_password_are_counted(app: Flask, user: Callable[..., str]) -> None:
    client = app.test_client()
    log_in(client, user("bob", "operator"))
    for _ in range(5):
        change(client, "a wrong guess", NEW)
    assert "分钟后再试" in change(client, PASSWORD, NEW).get_data(as_text=True)


def test_merchants_people_change_theirs(app: Flask, actors: Actors, user: Callable[..., str]) -> None:
    client = app.test_client()
    log_in(client, user("ann", "owner", actors.alice))
    assert change(client, PASSWORD, NEW).status_code == 302


def test_the_hash_is_never_in_the_audit_log(app: Flask, session: Session, user: Callable[..., str]) -> None:
    client = app.test_client()
    log_in(client, user("bob", "operator"))
    change(client, PASSWORD, NEW)
    for action in ("update", "password_change"):
        assert all("pbkdf2" not in str(row.after) + str(row.before) for row in audit(session, action))
    assert audit(session, "password_change")


def test_the_last_administrator_stays(session: Session, user: Callable[..., str]) -> None:
    user("root", "platform_admin")
    with pytest.raises(Refused, match="最后一个"):
        accounts.set_active(session, found(session, "root"), active=False)
    with pytest.raises(Refused, match="最后一个"):
        accounts.change_roles(session, found(session, "root"), ["operator"])

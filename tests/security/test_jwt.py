"""Log-in for machines: tokens, what they are bound to, and bodies that are none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from app import accounts
from app.models.base import utcnow
from tests.conftest import PASSWORD, Actors, log_in
from tests.security.conftest import bearer, found, token

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


def test_a_token_of_a_user_who_must_change_the_password_opens_nothing(
    app: Flask, session: Session, user: Callable[..., str]
) -> None:
    client = app.test_client()
    header = bearer(client, user("bob", "operator"))
    found(session, "bob").must_change_password = True  # the flag alone: the token is of the same credential
    session.commit()
    assert client.get(LIST, headers=header).status_code == 401


def test_a_refresh_token_gives_a_new_one_until_the_credential_changes(
    app: Flask, session: Session, user: Callable[..., str]
) -> None:
    client, name = app.test_client(), user("bob", "operator")
    refresh = {"Authorization": f"Bearer {token(client, name, refresh=True).get_json()['refresh_token']}"}
    fresh = client.post("/api/v1/security/refresh", headers=refresh)
    assert fresh.status_code == 200
    header = {"Authorization": f"Bearer {fresh.get_json()['access_token']}"}
    assert client.get(LIST, headers=header).status_code == 200
    accounts.end_credentials(session, found(session, name))
    session.commit()
    assert client.post("/api/v1/security/refresh", headers=refresh).status_code == 401
    assert client.get(LIST, headers=header).status_code == 401


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
        b"[" * 100_000,
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

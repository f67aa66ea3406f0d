"""Who must have the second factor, the password asked again before what matters, and devices known from before."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access import sign_in, two_factor
from app.access.throttle import PER_ADDRESS, PER_USER
from app.data.clock import utcnow
from app.models import TwoFactor
from app.models.kit.user import PLATFORM_ROLES
from tests.access.second import (
    CODES,
    CONFIRM,
    ENROL,
    HALF,
    OFF,
    SECURITY,
    code_of,
    enrol,
    give_code,
    give_password,
    in_half,
    is_in,
)
from tests.conftest import PASSWORD, Actors, csrf_token, log_in
from tests.people import audit, found, post, token

# REQUIRE_2FA.


@pytest.fixture
def required(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Flask:
    monkeypatch.setitem(app.config, "REQUIRE_2FA", True)
    return app


OPEN = frozenset({"static", "appbuilder.static", "health.healthz", "health.readyz", "health.metrics"})
ENROLLING = frozenset({"TwoFactorView.enrol", "ProfileView.confirm", "ProfileView.password", "LoginView.logout"})


@pytest.mark.parametrize("role", PLATFORM_ROLES)
def test_the_platforms_people_must_enrol_before_anything_else(
    required: Flask, client_for: Callable[..., FlaskClient], role: str
) -> None:
    """Every address and method there is leads to the enrolment, but those that it needs."""
    client, walked = client_for(role), 0
    sent = {"csrf_token": csrf_token(client, ENROL)}
    adapter = required.url_map.bind("127.0.0.1")
    for rule in required.url_map.iter_rules():
        if rule.endpoint in OPEN | ENROLLING or rule.rule.startswith("/douyin/"):
            continue
        numeric = {name for name, kind in rule._converters.items() if type(kind).__name__ == "IntegerConverter"}
        values = {name: 1 if name in numeric else "1" for name in rule.arguments}
        for method in sorted((rule.methods or set()) & {"GET", "POST", "PUT", "PATCH", "DELETE"}):
            path = adapter.build(rule.endpoint, values, method=method)
            answer = client.open(path, method=method, data=sent if method != "GET" else None)
            walked += 1
            assert (answer.status_code, answer.headers.get("Location")) in {(302, ENROL), (404, None)}, (method, path)
    assert walked > 80
    assert client.get(ENROL).status_code == 200


def test_enrolling_opens_the_rest(required: Flask, client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("operator")
    assert "平台要求您先开启两步验证" in client.get(ENROL).get_data(as_text=True)
    secret, _ = enrol(client)
    assert client.get("/account/").status_code == 200
    other = in_half(required, "operator0")
    give_code(other, code_of(secret, steps=1))
    assert is_in(other)


def test_merchants_people_need_not(required: Flask, actors: Actors, client_for: Callable[..., FlaskClient]) -> None:
    assert is_in(client_for("owner", actors.alice))


def test_a_password_to_be_changed_comes_first(
    required: Flask, session: Session, client_for: Callable[..., FlaskClient]
) -> None:
    client = client_for("operator")
    found(session, "operator0").must_change_password = True
    session.commit()
    assert client.get("/").headers["Location"] == "/account/password"
    fresh = "another 好 password 4711"
    post(client, "/account/password", old_password=PASSWORD, password=fresh, again=fresh)
    assert client.get("/").headers["Location"] == ENROL


def test_tokens_are_refused_before_the_enrolment(
    app: Flask, user: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, client = user("bob", "operator"), app.test_client()
    given = token(client, name).get_json()["access_token"]
    header = {"Authorization": f"Bearer {given}"}
    assert client.get("/api/v1/merchants/", headers=header).status_code == 200
    monkeypatch.setitem(app.config, "REQUIRE_2FA", True)
    assert client.get("/api/v1/merchants/", headers=header).status_code == 401
    assert token(client, name).status_code == 403


def test_turning_it_off_leads_back_to_the_enrolment(
    required: Flask, session: Session, client_for: Callable[..., FlaskClient]
) -> None:
    client = client_for("operator")
    _, codes = enrol(client)
    post(client, OFF, password=PASSWORD, code=codes[0])
    assert client.get("/").headers["Location"] == ENROL


# Proving oneself again.


def later(minutes: float) -> Any:
    return time_machine.travel(utcnow() + timedelta(minutes=minutes))


@pytest.mark.parametrize(
    "path", ["/account/keys/add", "/users/add", "/users/reset/{other}", "/users/reset_second/{other}", ENROL, CODES]
)
def test_what_matters_asks_for_the_password_after_ten_minutes(
    session: Session, client_for: Callable[..., FlaskClient], path: str
) -> None:
    admin = client_for("platform_admin")
    client_for("operator")
    path = path.format(other=found(session, "operator1").id)
    assert admin.get(path).status_code == 200
    with later(11):
        assert admin.get(path).headers["Location"].startswith(CONFIRM)
        assert post(admin, f"{CONFIRM}?next={path}", password=PASSWORD).headers["Location"] == path
        assert admin.get(path).status_code == 200


def test_a_form_that_was_opened_in_time_may_be_sent(session: Session, client_for: Callable[..., FlaskClient]) -> None:
    admin = client_for("platform_admin")
    client_for("operator")
    path = f"/users/reset/{found(session, 'operator1').id}"
    sent = {"csrf_token": csrf_token(admin, path)}
    with later(21):
        assert admin.post(path, data=sent).headers["Location"].startswith(CONFIRM)
    assert audit(session, "password_reset") == []
    with later(15):
        assert admin.post(path, data=sent).status_code == 200


def test_a_role_is_not_changed_by_a_session_left_open(session: Session, client_for: Callable[..., FlaskClient]) -> None:
    admin = client_for("platform_admin")
    client_for("operator")
    number = found(session, "operator1").id
    path, given = f"/users/edit/{number}", {"full_name": "甲", "email": "", "active": "y"}
    with later(30):
        answer = post(admin, path, **given, roles="platform_admin")
        assert answer.headers["Location"].startswith(CONFIRM)
        assert found(session, "operator1").role_names == {"operator"}
        assert post(admin, path, **given, roles="operator").headers["Location"] == f"/users/show/{number}"
        post(admin, CONFIRM, password=PASSWORD)
        post(admin, path, **given, roles="auditor")
    assert found(session, "operator1").role_names == {"auditor"}


def test_confirming_asks_for_the_code_where_it_is_on(app: Flask, bob: tuple[str, str, list[str]]) -> None:
    name, secret, codes = bob
    client = in_half(app, name)
    give_code(client, codes[0])
    with later(11):
        assert post(client, CONFIRM, password=PASSWORD).status_code == 422
        assert post(client, CONFIRM, password=PASSWORD, code="000000").status_code == 422
        assert client.get(CODES).headers["Location"].startswith(CONFIRM)
        assert post(client, CONFIRM, password=PASSWORD, code=code_of(secret)).status_code == 302
        assert client.get(CODES).status_code == 200


def test_guesses_at_the_password_are_counted(client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("operator")
    with later(11):
        answers = [post(client, CONFIRM, password="wrong password!").status_code for _ in range(PER_USER + 1)]
        assert answers == [422] * PER_USER + [429]
        assert post(client, CONFIRM, password=PASSWORD).status_code == 429


def test_strangers_at_the_same_address_keep_nobody_from_proving(
    app: Flask, client_for: Callable[..., FlaskClient]
) -> None:
    client = client_for("operator")
    for number in range(PER_ADDRESS + 1):
        body = {"username": f"nobody{number}", "password": "wrong password!", "provider": "db"}
        app.test_client().post("/api/v1/security/login", json=body)
    with later(11):
        assert post(client, CONFIRM, password=PASSWORD).status_code == 302


@pytest.mark.parametrize(
    "target", ["//evil.example/", "https://evil.example/", "javascript:alert(1)", "/\\evil.example"]
)
def test_confirming_leads_to_a_page_of_ours(client_for: Callable[..., FlaskClient], target: str) -> None:
    client = client_for("operator")
    data = {"password": PASSWORD, "csrf_token": csrf_token(client, CONFIRM)}
    assert client.post(CONFIRM, query_string={"next": target}, data=data).headers["Location"] == "/"


def test_while_logged_in_as_a_merchant_none_of_it_is_there(
    app: Flask, session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    operator = client_for("operator")
    post(operator, f"/loginas/{actors.alice.id}", reason="工单 1：查看")
    sent = {"csrf_token": csrf_token(operator, "/logout/"), "password": PASSWORD, "code": "123456", "step": "begin"}
    paths = [ENROL, CODES, OFF, CONFIRM, SECURITY, "/account/password"]
    for path in paths:
        assert operator.get(path).status_code == 403, path
    for path in [path for path in paths if path != SECURITY]:
        assert operator.post(path, data=sent).status_code == 403, path
    assert session.scalars(select(TwoFactor)).all() == []


def test_every_change_needs_the_forms_token(app: Flask, session: Session, bob: tuple[str, str, list[str]]) -> None:
    name, secret, codes = bob
    client = in_half(app, name)
    assert client.post(HALF, data={"code": codes[0]}).status_code == 400
    give_code(client, codes[0])
    for path in (ENROL, CODES, OFF, CONFIRM):
        assert client.post(path, data={"password": PASSWORD, "code": codes[1]}).status_code == 400, path
    assert two_factor.codes_left(session, found(session, name).id) == 9


# A device that was here before.


def test_strangers_do_not_keep_out_a_device_that_was_here_before(app: Flask, user: Callable[..., str]) -> None:
    name, known, stranger = user("bob", "operator"), app.test_client(), app.test_client()
    log_in(known, name)
    post(known, "/logout/")
    for _ in range(PER_USER + 1):
        token(stranger, name, "wrong password!")
    assert give_password(stranger, name).status_code == 429
    assert give_password(known, name).status_code == 302


def test_a_known_device_has_no_more_tries_than_others(app: Flask, user: Callable[..., str]) -> None:
    name, known = user("bob", "operator"), app.test_client()
    log_in(known, name)
    post(known, "/logout/")
    answers = [give_password(known, name, "wrong password!").status_code for _ in range(PER_USER + 1)]
    assert answers == [401] * PER_USER + [429]


def test_a_known_devices_failures_leave_a_new_one_its_whole_allowance(app: Flask, user: Callable[..., str]) -> None:
    name, known, fresh = user("bob", "operator"), app.test_client(), app.test_client()
    log_in(known, name)
    post(known, "/logout/")
    for _ in range(PER_USER):
        assert give_password(known, name, "wrong password!").status_code == 401
    answers = [give_password(fresh, name, "wrong password!").status_code for _ in range(PER_USER)]
    assert answers == [401] * PER_USER


def test_a_device_is_known_for_its_own_user_only(app: Flask, user: Callable[..., str]) -> None:
    eve = app.test_client()
    log_in(eve, user("eve", "operator"))
    post(eve, "/logout/")
    user("bob", "operator")
    for _ in range(PER_USER):
        token(app.test_client(), "bob", "wrong password!")
    assert give_password(eve, "bob").status_code == 429


@pytest.mark.parametrize("value", ["", "x", "a.b", "eyJuYW1lIjoiYm9iIn0.AAAA", "é"])
def test_a_forged_device_is_a_stranger(app: Flask, user: Callable[..., str], value: str) -> None:
    name, client = user("bob", "operator"), app.test_client()
    for _ in range(PER_USER):
        token(client, name, "wrong password!")
    client.set_cookie(sign_in.DEVICE_COOKIE, value, path="/login/")
    assert give_password(client, name).status_code == 429


def test_a_known_device_is_spared_no_code(app: Flask, bob: tuple[str, str, list[str]]) -> None:
    name, _, codes = bob
    client = in_half(app, name)
    give_code(client, codes[0])
    post(client, "/logout/")
    assert give_password(client, name).headers["Location"] == HALF


def test_strangers_who_guess_at_codes_do_not_keep_out_a_known_device(
    app: Flask, bob: tuple[str, str, list[str]]
) -> None:
    name, _, codes = bob
    known = in_half(app, name)
    give_code(known, codes[0])
    post(known, "/logout/")
    stranger = in_half(app, name)
    answers = [give_code(stranger, "000000").status_code for _ in range(PER_USER)]
    assert answers[-1] == 429
    give_password(known, name)
    give_code(known, codes[1])
    assert is_in(known)


def test_a_devices_cookie_is_sent_to_the_log_in_only_and_names_nobody(app: Flask, user: Callable[..., str]) -> None:
    client, name = app.test_client(), user("bob", "operator")
    [header] = [
        value
        for value in give_password(client, name).headers.getlist("Set-Cookie")
        if value.startswith(sign_in.DEVICE_COOKIE)
    ]
    assert re.search(r"Path=/login/", header)
    assert "HttpOnly" in header
    assert "bob" not in header

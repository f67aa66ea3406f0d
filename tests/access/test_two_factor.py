"""Two-step login: setting it up, the second step, codes that count once, who must have it, and proving oneself again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pyotp
import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access import accounts, two_factor
from app.access.throttle import PER_USER
from app.data.clock import utcnow
from app.data.tenancy import PLATFORM, app_scope
from app.extensions import db
from app.models import TwoFactor, User, WebSession
from tests.access.second import (
    CODES,
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
    secret_shown,
    shown_once,
)
from tests.conftest import PASSWORD, Actors, csrf_token, log_in
from tests.people import audit, found, post, token


def stored(session: Session) -> TwoFactor:
    session.rollback()
    return session.scalars(select(TwoFactor).execution_options(populate_existing=True)).one()


# Setting it up.


def test_enrolment_by_qr_and_typed_secret(session: Session, client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("operator")
    post(client, ENROL, step="begin")
    page = client.get(ENROL).get_data(as_text=True)
    assert 'src="data:image/svg+xml' in page
    secret = secret_shown(client)
    assert not two_factor.is_on(session, found(session, "operator0").id)
    address = two_factor.address(secret, "operator0")
    assert pyotp.parse_uri(address).now() == pyotp.TOTP(secret).now()
    assert len(shown_once(post(client, ENROL, code=code_of(secret)))) == 10
    assert two_factor.is_on(session, found(session, "operator0").id)
    assert len(audit(session, "two_factor_on")) == 1


def test_a_wrong_first_code_turns_nothing_on(session: Session, client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("operator")
    post(client, ENROL, step="begin")
    answer = post(client, ENROL, code="000000")
    assert answer.status_code == 422
    assert stored(session).confirmed_at is None


def test_a_code_before_the_beginning_is_refused(session: Session, client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("operator")
    assert post(client, ENROL, code="123456").status_code == 422
    assert session.scalars(select(TwoFactor)).all() == []


def test_looking_at_the_page_changes_nothing(session: Session, client_for: Callable[..., FlaskClient]) -> None:
    client_for("operator").get(ENROL)
    assert session.scalars(select(TwoFactor)).all() == []


def test_it_ends_the_other_sessions_and_tokens_and_renews_this_one(app: Flask, user: Callable[..., str]) -> None:
    name, here, there = user("bob", "operator"), app.test_client(), app.test_client()
    header = {"Authorization": f"Bearer {token(there, name).get_json()['access_token']}"}
    log_in(here, name)
    log_in(there, name)
    before = here.get_cookie("douzhou")
    enrol(here)
    after = here.get_cookie("douzhou")
    assert before is not None
    assert after is not None
    assert before.value != after.value
    assert is_in(here)
    assert not is_in(there)
    assert app.test_client().get("/api/v1/merchants/", headers=header).status_code == 401


def test_the_secret_is_sealed_and_never_shown_again(
    app: Flask, session: Session, bob: tuple[str, str, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    name, secret, codes = bob
    row = stored(session)
    assert secret not in str(row.secret_sealed)
    client = in_half(app, name)
    give_code(client, code_of(secret, steps=1))
    for path in ("/account/", SECURITY, ENROL, OFF, CODES):
        text = client.get(path, follow_redirects=True).get_data(as_text=True)
        assert secret not in text
        assert not [code for code in codes if code in text]
    session.rollback()
    dump = " ".join(str(tuple(row)) for table in db.metadata.sorted_tables for row in session.execute(select(table)))
    for told in (secret, *codes, *(code.replace("-", "") for code in codes)):
        assert told not in dump
        assert told not in caplog.text


# The second step.


def test_the_password_alone_opens_nothing(app: Flask, session: Session, bob: tuple[str, str, list[str]]) -> None:
    client = in_half(app, bob[0])
    for path in ("/account/", "/", "/merchantview/list/", "/api/v1/_openapi"):
        assert client.get(path).status_code in {302, 401}
    assert audit(session, "login")[1:] == []  # the first was before the second factor was on
    session.rollback()
    assert [row.user_id for row in session.scalars(select(WebSession).order_by(WebSession.created_at))][1:] == [None]


def test_password_and_code_open(app: Flask, session: Session, bob: tuple[str, str, list[str]]) -> None:
    name, secret, _ = bob
    client = in_half(app, name)
    before = client.get_cookie("douzhou")
    assert before is not None
    assert give_code(client, code_of(secret, steps=1)).status_code == 302
    assert is_in(client)
    after = client.get_cookie("douzhou")
    assert after is not None
    assert after.value != before.value
    assert len(audit(session, "login")) == 2


def test_where_one_was_going_is_kept_over_the_second_step(app: Flask, bob: tuple[str, str, list[str]]) -> None:
    name, secret, _ = bob
    client = app.test_client()
    data = {"username": name, "password": PASSWORD, "csrf_token": csrf_token(client)}
    client.post("/login/?next=/account/security", data=data)
    assert give_code(client, code_of(secret, steps=1)).headers["Location"] == SECURITY


def test_without_a_password_there_is_no_second_step(app: Flask) -> None:
    client = app.test_client()
    assert client.get(HALF).headers["Location"] == "/login/"
    answer = client.post(HALF, data={"code": "123456", "csrf_token": csrf_token(client)})
    assert answer.headers["Location"] == "/login/"


def test_the_second_step_waits_five_minutes(app: Flask, bob: tuple[str, str, list[str]]) -> None:
    name, secret, _ = bob
    client = in_half(app, name)
    with time_machine.travel(utcnow() + timedelta(minutes=5, seconds=1)):
        answer = client.get(HALF)
        assert (answer.status_code, answer.headers["Location"]) == (302, "/login/")
        assert client.post(HALF, data={"code": code_of(secret), "csrf_token": csrf_token(client)}).status_code == 302
        assert not is_in(client)


@pytest.mark.parametrize("change", ["password", "disable", "reset"])
def test_what_changes_meanwhile_ends_the_half_log_in(
    app: Flask, session: Session, bob: tuple[str, str, list[str]], change: str
) -> None:
    name, secret, _ = bob
    client = in_half(app, name)
    row = found(session, name)
    if change == "password":
        accounts.set_password(session, row, "another 好 password 4711", must_change=False)
    elif change == "disable":
        row.active = False
    else:
        accounts.reset_second_factor(session, row)
    session.commit()
    give_code(client, code_of(secret, steps=1))
    assert not is_in(client)


def test_the_page_of_the_second_step_names_nobody_and_is_not_kept(app: Flask, bob: tuple[str, str, list[str]]) -> None:
    answer = in_half(app, bob[0]).get(HALF)
    assert answer.headers["Cache-Control"] == "no-store"
    assert bob[0] not in answer.get_data(as_text=True)


# Codes.


def test_a_code_counts_once(app: Flask, session: Session, bob: tuple[str, str, list[str]]) -> None:
    name, secret, _ = bob
    code = code_of(secret, steps=1)
    assert give_code(in_half(app, name), code).status_code == 302
    again = in_half(app, name)
    assert give_code(again, code).status_code == 401
    assert not is_in(again)
    assert len(audit(session, "login_failed")) == 1


def test_the_code_of_the_enrolment_is_used_up(app: Flask, bob: tuple[str, str, list[str]]) -> None:
    name, secret, _ = bob
    held = pyotp.TOTP(secret)
    used = utcnow() - timedelta(seconds=30 if utcnow().timestamp() % 30 < 2 else 0)
    client = in_half(app, name)
    assert give_code(client, held.at(used)).status_code == 401


def test_an_older_code_than_the_last_is_refused(app: Flask, session: Session, bob: tuple[str, str, list[str]]) -> None:
    name, secret, _ = bob
    give_code(in_half(app, name), code_of(secret, steps=1))
    with time_machine.travel(utcnow() + timedelta(seconds=30)):
        client = in_half(app, name)
        assert give_code(client, code_of(secret, steps=-1)).status_code == 401
        assert give_code(client, code_of(secret, steps=1)).status_code == 302


@pytest.mark.parametrize(("steps", "right"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_clock_may_be_off_by_half_a_minute(
    app: Flask, session: Session, bob: tuple[str, str, list[str]], steps: int, right: bool
) -> None:
    _, secret, _ = bob
    with time_machine.travel(utcnow() + timedelta(minutes=10), tick=False):
        row = found(session, "bob")
        assert two_factor.check(session, row, code_of(secret, steps=steps)) is right


@pytest.mark.parametrize("write", [lambda c: f"{c[:3]} {c[3:]}", lambda c: "".join(chr(ord(d) + 0xFEE0) for d in c)])
def test_codes_are_taken_with_blanks_and_in_full_width(
    session: Session, bob: tuple[str, str, list[str]], write: Callable[[str], str]
) -> None:
    assert two_factor.check(session, found(session, "bob"), write(code_of(bob[1], steps=1)))


@pytest.mark.parametrize("code", ["", " ", "12345", "1234567", "abcdef", "٣٤٥٦٧٨", "\ud83d\ude00", "x" * 5000, "-" * 6])
def test_what_is_no_code_is_wrong(session: Session, bob: tuple[str, str, list[str]], code: str) -> None:
    assert not two_factor.check(session, found(session, "bob"), code)


@pytest.mark.parametrize("kind", ["code", "recovery"])
def test_of_several_at_once_with_one_code_one_gets_in(app: Flask, bob: tuple[str, str, list[str]], kind: str) -> None:
    code = code_of(bob[1], steps=1) if kind == "code" else bob[2][0]
    start = threading.Barrier(6)

    def give(_number: int) -> bool:
        with app_scope(app, PLATFORM) as own:
            start.wait(10)
            user = own.scalars(select(User).where(User.username == "bob")).one()
            right = two_factor.check(own, user, code)
            own.commit()
            return right

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(give, range(6))) == [False] * 5 + [True]


def test_another_users_code_is_wrong(app: Flask, bob: tuple[str, str, list[str]], user: Callable[..., str]) -> None:
    ann = app.test_client()
    log_in(ann, user("ann", "operator"))
    secret, codes = enrol(ann)
    client = in_half(app, "bob")
    assert give_code(client, code_of(secret, steps=1)).status_code == 401
    assert give_code(client, codes[0]).status_code == 401


# The throttle.


def test_codes_and_passwords_count_together(app: Flask, bob: tuple[str, str, list[str]]) -> None:
    name, secret, _ = bob
    client = in_half(app, name)  # one
    codes = [give_code(client, "000000").status_code for _ in range(PER_USER)]
    assert codes == [401] * (PER_USER - 1) + [429]
    assert give_code(client, code_of(secret, steps=1)).status_code == 429  # even the right one
    assert give_password(app.test_client(), name).status_code == 429
    assert not is_in(client)


def test_beginning_again_with_the_password_gives_no_new_tries(app: Flask, bob: tuple[str, str, list[str]]) -> None:
    name = bob[0]
    answers = []
    for _ in range(3):
        client = app.test_client()
        answers += [give_password(client, name).status_code, give_code(client, "000000").status_code]
    assert answers == [302, 401, 302, 401, 302, 429]


def test_a_right_code_forgives(app: Flask, session: Session, bob: tuple[str, str, list[str]]) -> None:
    name, secret, codes = bob
    client = in_half(app, name)
    give_code(client, "000000")
    give_code(client, code_of(secret, steps=1))
    other = in_half(app, name)
    assert [give_code(other, "000000").status_code for _ in range(3)] == [401] * 3
    assert give_code(other, codes[0]).status_code == 302


# Log-in for machines.


def test_the_api_asks_for_the_code_too(app: Flask, bob: tuple[str, str, list[str]]) -> None:
    name, secret, codes = bob
    client = app.test_client()
    answer = token(client, name)
    assert (answer.status_code, answer.get_json()["otp_required"]) == (401, True)
    assert token(client, name, otp="000000").status_code == 401
    assert "otp_required" not in token(client, name, otp="000000").get_json()
    assert token(client, name, otp=code_of(secret, steps=1)).status_code == 200
    assert token(client, name, otp=code_of(secret, steps=1)).status_code == 401  # used up
    assert token(client, name, otp=codes[0]).status_code == 200


def test_the_api_does_not_tell_a_wrong_password_by_the_code(app: Flask, bob: tuple[str, str, list[str]]) -> None:
    answer = token(app.test_client(), bob[0], "wrong password!")
    assert answer.status_code == 401
    assert "otp_required" not in answer.get_json()


def test_a_wrong_password_uses_no_code_up(app: Flask, bob: tuple[str, str, list[str]]) -> None:
    name, secret, codes = bob
    assert token(app.test_client(), name, "wrong password!", otp=codes[0]).status_code == 401
    assert token(app.test_client(), name, otp=codes[0]).status_code == 200


@pytest.mark.parametrize("otp", [None, 123456, "", [], {}, "1" * 300, True])
def test_a_malformed_code_is_a_malformed_body(app: Flask, bob: tuple[str, str, list[str]], otp: Any) -> None:
    assert token(app.test_client(), bob[0], otp=otp).status_code == 400


# Turning it off.


def test_turning_it_off_asks_for_password_and_code(
    app: Flask, session: Session, bob: tuple[str, str, list[str]]
) -> None:
    name, secret, codes = bob
    client = in_half(app, name)
    give_code(client, codes[0])
    for password, code in ((PASSWORD, "000000"), ("wrong password!", codes[1]), (PASSWORD, "")):
        assert post(client, OFF, password=password, code=code).status_code == 422
        assert two_factor.is_on(session, found(session, name).id)
    assert post(client, OFF, password=PASSWORD, code=code_of(secret, steps=1)).status_code == 302
    session.rollback()
    assert session.scalars(select(TwoFactor)).all() == []
    assert give_password(app.test_client(), name).headers["Location"] == "/"
    assert len(audit(session, "two_factor_off")) == 1


def test_guesses_at_turning_it_off_are_counted(app: Flask, session: Session, bob: tuple[str, str, list[str]]) -> None:
    name, _, codes = bob
    client = in_half(app, name)
    give_code(client, codes[0])
    answers = [post(client, OFF, password=PASSWORD, code="000000").status_code for _ in range(PER_USER + 1)]
    assert answers == [422] * PER_USER + [429]
    assert post(client, OFF, password=PASSWORD, code=codes[1]).status_code == 429
    assert two_factor.is_on(session, found(session, name).id)


def test_an_administrator_resets_it(
    app: Flask, session: Session, bob: tuple[str, str, list[str]], client_for: Callable[..., FlaskClient]
) -> None:
    name, _, codes = bob
    theirs = in_half(app, name)
    give_code(theirs, codes[0])
    admin = client_for("platform_admin")
    number = found(session, name).id
    assert "已开启" in admin.get(f"/users/show/{number}").get_data(as_text=True)
    assert post(admin, f"/users/reset_second/{number}").status_code == 302
    assert not is_in(theirs)
    assert give_password(app.test_client(), name).headers["Location"] == "/"
    [row] = audit(session, "two_factor_reset")
    assert (row.actor_name, row.subject_name) == ("platform_admin0", name)


def test_the_command_line_resets_it_too(app: Flask, session: Session, bob: tuple[str, str, list[str]]) -> None:
    run = app.test_cli_runner().invoke
    assert run(args=["user", "reset-second-factor", "nobody"]).exit_code == 2
    assert run(args=["user", "reset-second-factor", bob[0]]).exit_code == 0
    assert give_password(app.test_client(), bob[0]).headers["Location"] == "/"
    assert [row.door for row in audit(session, "two_factor_reset")] == ["cli"]
    assert run(args=["user", "reset-second-factor", bob[0]]).exit_code == 2


def test_nobody_resets_their_own_and_none_that_is_off(session: Session, client_for: Callable[..., FlaskClient]) -> None:
    admin = client_for("platform_admin")
    client_for("operator")
    assert admin.get(f"/users/reset_second/{found(session, 'platform_admin0').id}").status_code == 400
    number = found(session, "operator1").id
    assert post(admin, f"/users/reset_second/{number}").status_code == 400
    assert audit(session, "two_factor_reset") == []


def test_operators_reset_staff_and_nobody_of_the_platform(
    session: Session, actors: Actors, bob: tuple[str, str, list[str]], client_for: Callable[..., FlaskClient]
) -> None:
    owner = client_for("owner", actors.alice)
    enrol(owner)
    operator = client_for("operator")
    assert operator.get(f"/users/reset_second/{found(session, 'bob').id}").status_code == 403
    assert operator.get(f"/staff/reset_second/{found(session, 'bob').id}").status_code == 404
    assert post(operator, f"/staff/reset_second/{found(session, 'owner0').id}").status_code == 302
    assert not is_in(owner)


def test_a_merchants_people_may_have_it(app: Flask, actors: Actors, client_for: Callable[..., FlaskClient]) -> None:
    secret, _ = enrol(client_for("clerk", actors.alice))
    client = in_half(app, f"clerk0{actors.alice.user_suffix}")
    assert give_code(client, code_of(secret, steps=1)).status_code == 302
    assert is_in(client)

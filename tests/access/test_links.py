"""Links to set a password by: one use, half an hour, nobody's but the owner's; and what is done after one says so."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from app.access import accounts, sign_in
from app.data.clock import utcnow
from app.jobs import housekeeping
from app.models import AuditEntry, MerchantState, Notification, PasswordLink, WebSession
from tests.access.second import HALF, code_of, give_code, give_password, is_in, make_key, with_key
from tests.conftest import PASSWORD, Actors, change, csrf_token, log_in
from tests.people import LINK, NEW, SET, attempt, audit, bearer, found, open_link, post, set_password, token, token_of

OTHER = "seven grey boats 慢慢"
GONE = "这个链接无效、已经用过或已过期"


@pytest.fixture
def root(app: Flask, user: Callable[..., str]) -> FlaskClient:
    client = app.test_client()
    log_in(client, user("root", "platform_admin"))
    return client


def reset(client: FlaskClient, session: Session, name: str, screen: str = "users", **more: str) -> str:
    """The token of a link that somebody made for a user."""
    return token_of(post(client, f"/{screen}/reset/{found(session, name).id}", **more))


def links(session: Session) -> int:
    session.rollback()
    return int(session.scalar(sa.select(sa.func.count()).select_from(PasswordLink)) or 0)


def notes(session: Session, name: str) -> list[str]:
    number = found(session, name).id
    return list(session.scalars(sa.select(Notification.title).where(Notification.user_id == number)))


def test_a_reset_ends_everything_at_once_and_the_owner_sets_the_next_password(
    app: Flask, session: Session, root: FlaskClient, user: Callable[..., str]
) -> None:
    bob, machine = app.test_client(), app.test_client()
    log_in(bob, user("bob", "operator"))
    header, key = bearer(machine, "bob"), with_key(make_key(bob))
    given = reset(root, session, "bob")
    assert not is_in(bob)
    assert machine.get("/api/v1/merchants/", headers=header).status_code == 401
    assert machine.get("/api/v1/merchants/", headers=key).status_code == 401
    assert attempt(app.test_client(), "bob").status_code == 401
    assert token(app.test_client(), "bob").status_code == 401
    own = app.test_client()
    assert set_password(own, given, NEW).headers["Location"] == "/"
    assert is_in(own)
    assert attempt(app.test_client(), "bob", NEW).status_code == 302
    assert machine.get("/api/v1/merchants/", headers=key).status_code == 200
    assert [row.actor_name for row in audit(session, "password_reset")] == ["root"]
    assert [(row.actor_name, row.via) for row in audit(session, "password_set")] == [("bob", "reset:root")]
    assert notes(session, "bob") == ["密码已被重置", "已通过重置链接设置新密码"]


def test_a_reset_may_end_the_keys_too(
    app: Flask, session: Session, root: FlaskClient, user: Callable[..., str]
) -> None:
    bob = app.test_client()
    log_in(bob, user("bob", "operator"))
    key = with_key(make_key(bob))
    assert "同时撤销 1 个 API 密钥" in root.get(f"/users/reset/{found(session, 'bob').id}").get_data(as_text=True)
    set_password(app.test_client(), reset(root, session, "bob", keys="1"), NEW)
    assert app.test_client().get("/api/v1/merchants/", headers=key).status_code == 401


def test_nobody_types_or_sees_a_password_of_another(
    session: Session, root: FlaskClient, user: Callable[..., str], actors: Actors
) -> None:
    user("bob", "operator")
    number = found(session, "bob").id
    for path in (
        "/users/add",
        f"/users/edit/{number}",
        f"/users/reset/{number}",
        f"/staff/add?merchant={actors.alice.id}",
    ):
        page = root.get(path).get_data(as_text=True)
        assert 'type="password"' not in page, path


# One use, and not for long.


def test_a_link_counts_once(app: Flask, session: Session, root: FlaskClient, user: Callable[..., str]) -> None:
    user("bob", "operator")
    given = reset(root, session, "bob")
    first, second = app.test_client(), app.test_client()
    open_link(first, given)
    open_link(second, given)
    assert post(first, SET, password=NEW, again=NEW).headers["Location"] == "/"
    answer = second.post(SET, data={"password": OTHER, "again": OTHER, "csrf_token": csrf_token(second)})
    assert answer.headers["Location"] == "/login/"
    again = open_link(app.test_client(), given)
    assert (again.status_code, GONE in again.get_data(as_text=True)) == (401, True)
    assert attempt(app.test_client(), "bob", OTHER).status_code == 401
    assert attempt(app.test_client(), "bob", NEW).status_code == 302


def test_of_several_at_once_with_one_link_one_sets_the_password(
    app: Flask, session: Session, root: FlaskClient, user: Callable[..., str]
) -> None:
    user("bob", "operator")
    given, clients = reset(root, session, "bob"), [app.test_client() for _ in range(5)]
    forms = []
    for number, client in enumerate(clients):
        open_link(client, given)
        own = f"{NEW} {number}"
        forms.append({"password": own, "again": own, "csrf_token": csrf_token(client, SET)})
    start = threading.Barrier(5)

    def send(number: int) -> str:
        start.wait(10)
        return str(clients[number].post(SET, data=forms[number]).headers.get("Location"))

    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(send, range(5)))
    assert answers.count("/") == 1, answers
    assert attempt(app.test_client(), "bob", f"{NEW} {answers.index('/')}").status_code == 302
    assert len(audit(session, "password_set")) == 1


@pytest.mark.parametrize("opened", [False, True])
def test_a_link_ends_after_half_an_hour(
    app: Flask, session: Session, root: FlaskClient, user: Callable[..., str], opened: bool
) -> None:
    user("bob", "operator")
    given, client = reset(root, session, "bob"), app.test_client()
    if opened:
        open_link(client, given)
    with time_machine.travel(utcnow() + timedelta(minutes=30, seconds=1)):
        answer = client.get(SET) if opened else open_link(client, given)
        assert (answer.status_code, answer.headers.get("Location")) == ((302, "/login/") if opened else (401, None))
    with time_machine.travel(utcnow() + timedelta(minutes=31)):
        housekeeping.clean(app)
    assert links(session) == 0


def test_another_reset_ends_the_first_link(
    app: Flask, session: Session, root: FlaskClient, user: Callable[..., str]
) -> None:
    user("bob", "operator")
    first, second = reset(root, session, "bob"), reset(root, session, "bob")
    assert open_link(app.test_client(), first).status_code == 401
    assert set_password(app.test_client(), second, NEW).status_code == 302


@pytest.mark.parametrize("what", ["password", "disable", "role"])
def test_what_changes_meanwhile_ends_the_link(
    app: Flask, session: Session, root: FlaskClient, user: Callable[..., str], what: str
) -> None:
    user("bob", "operator")
    client = app.test_client()
    open_link(client, reset(root, session, "bob"))
    row = found(session, "bob")
    if what == "password":
        accounts.set_password(session, row, OTHER, must_change=False)
    elif what == "disable":
        accounts.set_active(session, row, active=False)
    else:
        accounts.change_roles(session, row, ["auditor"])
    session.commit()
    assert client.get(SET).headers["Location"] == "/login/"
    assert links(session) == 0


def test_no_link_is_made_for_the_disabled_and_none_lets_them_in(
    app: Flask, session: Session, root: FlaskClient, user: Callable[..., str]
) -> None:
    user("bob", "operator")
    given = reset(root, session, "bob")
    change(session, found(session, "bob"), active=False)  # behind the back of what ends links
    assert open_link(app.test_client(), given).status_code == 401
    assert post(root, f"/users/reset/{found(session, 'bob').id}").status_code == 400


def test_a_suspended_merchants_people_are_not_let_in(
    app: Flask, session: Session, root: FlaskClient, actors: Actors, user: Callable[..., str]
) -> None:
    user("ann", "owner", actors.alice)
    client, given = app.test_client(), reset(root, session, "ann", "staff")
    open_link(client, given)
    change(session, actors.alice, state=MerchantState.SUSPENDED)
    assert client.get(SET).status_code == 302
    assert found(session, "ann").password is None


@pytest.mark.parametrize("given", ["", "x", "dz_" + "A" * 40, "é" * 43, "../" * 10, "x" * 5000])
def test_what_is_no_link_opens_nothing(app: Flask, given: str) -> None:
    client = app.test_client()
    assert open_link(client, given).status_code in {200, 401}
    assert client.get(SET).headers["Location"] == "/login/"


@pytest.mark.parametrize("password", ["short", "my-Bobby-lamps-drift", "password1234"])
def test_a_weak_password_uses_no_link_up(
    app: Flask, session: Session, root: FlaskClient, user: Callable[..., str], password: str
) -> None:
    user("bobby", "operator")
    client = app.test_client()
    answer = set_password(client, reset(root, session, "bobby"), password)
    assert answer.status_code == 422
    assert post(client, SET, password=NEW, again=NEW).headers["Location"] == "/"


# Whose it is.


def test_operators_make_no_link_for_anybody_of_the_platform(
    session: Session, client_for: Callable[..., FlaskClient], user: Callable[..., str]
) -> None:
    user("root", "platform_admin")
    operator, number = client_for("operator"), found(session, "root").id
    assert operator.get(f"/users/reset/{number}").status_code == 403
    assert operator.get(f"/staff/reset/{number}").status_code == 404
    sent = {"csrf_token": csrf_token(operator, "/account/password")}
    assert operator.post(f"/users/reset/{number}", data=sent).status_code == 403
    assert operator.post(f"/staff/reset/{number}", data=sent).status_code == 404
    assert links(session) == 0


def test_the_code_is_still_asked_for(
    app: Flask, session: Session, root: FlaskClient, bob: tuple[str, str, list[str]]
) -> None:
    name, secret, _ = bob
    client = app.test_client()
    assert set_password(client, reset(root, session, name), NEW).headers["Location"] == HALF
    assert not is_in(client)
    assert give_code(client, "000000").status_code == 401
    assert give_code(client, code_of(secret, steps=1)).status_code == 302
    assert is_in(client)


def test_opening_a_link_does_not_take_over_who_is_logged_in(
    app: Flask, session: Session, root: FlaskClient, user: Callable[..., str], client_for: Callable[..., FlaskClient]
) -> None:
    user("bob", "operator")
    given, other = reset(root, session, "bob"), client_for("auditor")
    page = other.get(LINK).get_data(as_text=True)
    assert "data-link-now" not in page  # no script sends it: a link in a message must not log anybody out
    assert is_in(other)
    set_password(other, given, NEW)
    assert "bob" in other.get("/account/").get_data(as_text=True)


# Where the token goes.


def test_the_token_is_in_no_address_log_or_table(
    app: Flask, session: Session, root: FlaskClient, user: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    user("bob", "operator")
    caplog.set_level(logging.DEBUG)
    page = post(root, f"/users/reset/{found(session, 'bob').id}")
    assert page.headers["Cache-Control"] == "no-store"
    given, client = token_of(page), app.test_client()
    answers = [client.get(LINK), open_link(client, given), client.get(SET), post(client, SET, password=NEW, again=NEW)]
    for answer in answers:
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers.get("Cache-Control") == "no-store" or answer.status_code == 302
        assert given not in answer.request.url
        assert given not in str(answer.headers)
        assert given not in answer.get_data(as_text=True)
    session.rollback()
    tables = [PasswordLink, AuditEntry, WebSession, Notification]
    dump = str([session.execute(sa.select(model.__table__)).all() for model in tables])
    assert given not in dump + caplog.text


def test_a_token_that_is_logged_all_the_same_is_masked() -> None:
    from app.access.api_keys import new_text
    from app.redaction import redact

    given = new_text()
    assert given not in redact(f"GET https://console.example.com/login/link#{given} 200")


# What is said afterwards.


def test_for_a_day_the_page_and_the_log_say_whose_link_it_was(
    app: Flask, session: Session, root: FlaskClient, user: Callable[..., str]
) -> None:
    user("bob", "operator")
    client = app.test_client()
    set_password(client, reset(root, session, "bob"), NEW)
    assert "重置：root" in client.get("/account/").get_data(as_text=True)
    post(client, "/account/", full_name="鲍", email="")
    later = app.test_client()  # whoever kept the password and comes back is marked too, by whatever door
    log_in(later, "bob", NEW)
    header = {"Authorization": f"Bearer {token(later, 'bob', NEW).get_json()['access_token']}"}
    later.post("/api/v1/security/logout", headers=header)
    assert {
        row.via for action in ("update", "login", "logout") for row in audit(session, action) if row.actor_name == "bob"
    } == {"reset:root"}
    entry = audit(session, "logout")[-1]
    for path in ("/auditentryview/list/", f"/auditentryview/show/{entry.id}"):
        assert "重置：root" in root.get(path).get_data(as_text=True), path
    with time_machine.travel(utcnow() + timedelta(hours=23)):
        log_in(late := app.test_client(), "bob", NEW)
        assert "重置：root" in late.get("/account/").get_data(as_text=True)
    with time_machine.travel(utcnow() + timedelta(hours=24, minutes=1)):
        log_in(later, "bob", NEW)
        assert "重置：root" not in later.get("/account/").get_data(as_text=True)
    assert audit(session, "login")[-1].via == ""


def test_operations_say_it_too(session: Session, user: Callable[..., str]) -> None:
    from app.models.kit.audit import Actor

    assert Actor(1, "bob", via="reset:root").words() == "bob（重置：root）"
    assert Actor(1, "bob", on_behalf_of="花店", via="invite:root").words() == "bob（代花店）（开通：root）"


def test_the_owner_changing_the_password_does_not_unsay_it(
    app: Flask, session: Session, root: FlaskClient, user: Callable[..., str]
) -> None:
    user("bob", "operator")
    client = app.test_client()
    set_password(client, reset(root, session, "bob"), NEW)
    post(client, "/account/password", old_password=NEW, password=OTHER, again=OTHER)
    assert "重置：root" in client.get("/account/").get_data(as_text=True)


def test_the_command_line_makes_a_link_for_whoever_cannot_get_in(
    app: Flask, session: Session, user: Callable[..., str]
) -> None:
    user("root", "platform_admin")
    run = app.test_cli_runner().invoke
    assert run(args=["user", "reset-password", "nobody"]).exit_code == 2
    answer = run(args=["user", "reset-password", "root"])
    assert answer.exit_code == 0
    given = answer.output.strip().rsplit("#", 1)[1]
    set_password(app.test_client(), given, NEW)
    assert found(session, "root").via == "reset:命令行"


def test_resetting_the_second_factor_tells_its_owner(
    session: Session, root: FlaskClient, bob: tuple[str, str, list[str]]
) -> None:
    post(root, f"/users/reset_second/{found(session, bob[0]).id}")
    assert notes(session, "bob") == ["两步验证已被重置"]


def test_an_open_link_is_kept_by_its_hash_only(app: Flask, session: Session, root: FlaskClient, user: Any) -> None:
    user("bob", "operator")
    given, client = reset(root, session, "bob"), app.test_client()
    open_link(client, given)
    with client.session_transaction() as held:
        assert set(held[sign_in.LINK]) == {"hash"}
    assert give_password(app.test_client(), "bob", PASSWORD).status_code == 401

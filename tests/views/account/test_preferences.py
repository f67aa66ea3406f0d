"""One's own account: name and mail, how pages look and in which language, and the list of log-ins."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import User, WebSession
from tests.conftest import Actors, csrf_token, log_in
from tests.people import audit, found, post

PREFERENCES, ACCOUNT, SECURITY = "/account/preferences", "/account/", "/account/security"


def cookies(answer: Any) -> dict[str, str]:
    return dict(re.findall(r"(theme|density|side|locale)=([^;]*)", " ".join(answer.headers.getlist("Set-Cookie"))))


# How pages look.


@pytest.mark.parametrize(
    ("name", "value"),
    [("theme", "dark"), ("theme", "light"), ("theme", "system"), ("density", "compact"), ("density", "comfortable")],
)
def test_a_choice_is_kept_for_the_account_and_this_browser(
    session: Session, client_for: Callable[..., FlaskClient], name: str, value: str
) -> None:
    client = client_for("operator")
    answer = post(client, PREFERENCES, **{name: value})
    assert answer.status_code == 204
    assert cookies(answer) == {name: value}
    assert found(session, "operator0").preferences == {name: value}


def test_any_part_may_be_sent_and_the_rest_stays(session: Session, client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("operator")
    post(client, PREFERENCES, theme="dark", density="compact")
    post(client, PREFERENCES, locale="en")
    assert found(session, "operator0").preferences == {"theme": "dark", "density": "compact", "locale": "en"}


def test_the_next_page_is_painted_as_chosen(app: Flask, client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("operator")
    post(client, PREFERENCES, theme="dark", density="compact")
    other = app.test_client()
    log_in(other, "operator0")  # another device knows it by the account
    for browser in (client, other):
        page = browser.get(PREFERENCES).get_data(as_text=True)
        assert 'data-bs-theme="dark"' in page
        assert 'data-density="compact"' in page


def test_the_language_is_the_sessions_and_at_the_next_log_in_the_accounts(
    app: Flask, client_for: Callable[..., FlaskClient]
) -> None:
    client, other = client_for("operator"), app.test_client()
    post(client, PREFERENCES, locale="en")
    assert '<html lang="en"' in client.get(ACCOUNT).get_data(as_text=True)
    log_in(other, "operator0")
    assert '<html lang="en"' in other.get(ACCOUNT).get_data(as_text=True)
    post(client, PREFERENCES, locale="zh")
    assert '<html lang="zh-CN"' in client.get(ACCOUNT).get_data(as_text=True)


def test_the_form_leads_back_to_its_page(client_for: Callable[..., FlaskClient]) -> None:
    answer = post(client_for("operator"), PREFERENCES, theme="dark", next=PREFERENCES)
    assert (answer.status_code, answer.headers["Location"]) == (302, PREFERENCES)


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example/", "javascript:alert(1)"])
def test_the_form_leads_to_no_other_site(client_for: Callable[..., FlaskClient], target: str) -> None:
    assert post(client_for("operator"), PREFERENCES, theme="dark", next=target).headers["Location"] == "/"


@pytest.mark.parametrize(
    ("name", "value"), [("theme", "pink"), ("density", "x" * 3000), ("locale", "../../etc"), ("theme", "dark; Path=/")]
)
def test_a_value_that_is_none_is_refused(
    session: Session, client_for: Callable[..., FlaskClient], name: str, value: str
) -> None:
    client = client_for("operator")
    assert post(client, PREFERENCES, **{name: value}).status_code == 400
    assert found(session, "operator0").preferences is None


def test_other_fields_are_not_kept(session: Session, client_for: Callable[..., FlaskClient]) -> None:
    post(client_for("operator"), PREFERENCES, theme="dark", roles="platform_admin", quiet="1")
    assert found(session, "operator0").preferences == {"theme": "dark"}


def test_a_choice_without_the_pages_token_is_refused(session: Session, client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("operator")
    assert client.post(PREFERENCES, data={"theme": "dark"}).status_code == 400
    assert found(session, "operator0").preferences is None


def test_the_token_may_come_as_a_header(client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("operator")
    answer = client.post(PREFERENCES, data={"theme": "dark"}, headers={"X-CSRFToken": csrf_token(client, PREFERENCES)})
    assert answer.status_code == 204


def test_a_visitor_has_no_account_to_choose_for(app: Flask) -> None:
    client = app.test_client()
    answer = client.post(PREFERENCES, data={"theme": "dark", "csrf_token": csrf_token(client)})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/login/")


def test_while_logged_in_as_a_merchant_only_this_browser_changes(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    client = client_for("operator")
    post(client, f"/loginas/{actors.alice.id}", reason="工单 1：查看")
    answer = post(client, PREFERENCES, "/logout/", theme="dark", locale="en")
    assert (answer.status_code, cookies(answer)) == (204, {"theme": "dark", "locale": "en"})
    assert found(session, "operator0").preferences is None
    assert client.get(PREFERENCES).status_code == 403


def test_the_address_that_changed_the_language_by_a_link_changes_nothing(
    app: Flask, client_for: Callable[..., FlaskClient]
) -> None:
    client = client_for("operator")
    answer = client.get("/lang/en")
    assert (answer.status_code, answer.headers["Location"]) == (302, PREFERENCES)
    assert '<html lang="zh-CN"' in client.get(ACCOUNT).get_data(as_text=True)
    assert "Set-Cookie" not in app.test_client().get("/lang/en").headers


# Name and mail.


def test_a_user_changes_its_own_name_and_mail(session: Session, client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("operator")
    assert post(client, ACCOUNT, full_name=" 王小明 ", email="wang@example.cn").status_code == 302
    row = found(session, "operator0")
    assert (row.first_name, row.email) == ("王小明", "wang@example.cn")
    assert "wang@example.cn" in client.get(ACCOUNT).get_data(as_text=True)
    assert "wang@example.cn" not in str([entry.after for entry in audit(session, "update")])


def test_a_mail_address_may_be_taken_away_again(session: Session, client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("operator")
    post(client, ACCOUNT, full_name="王", email="wang@example.cn")
    assert post(client, ACCOUNT, full_name="王", email="").status_code == 302
    assert found(session, "operator0").email == ""


@pytest.mark.parametrize("email", ["x", "x@y", "a b@example.cn", "<i>@example.cn", "@example.cn", "a@b@example.cn"])
def test_what_is_no_mail_address_is_refused(
    session: Session, client_for: Callable[..., FlaskClient], email: str
) -> None:
    client = client_for("operator")
    answer = post(client, ACCOUNT, full_name="王", email=email)
    assert answer.status_code == 422
    assert "邮箱的格式不正确" in answer.get_data(as_text=True)
    assert found(session, "operator0").first_name == "operator0"


@pytest.mark.parametrize("roles", [("operator", "auditor"), ("owner", "operator"), ("owner", "owner")])
def test_whether_a_mail_address_is_somebody_elses_is_not_told(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient], roles: tuple[str, str]
) -> None:
    of = {0: actors.alice, 1: actors.bob}
    for place, role in enumerate(roles):
        client = client_for(role, of[place] if role == "owner" else None)
        assert post(client, ACCOUNT, full_name="甲", email="same@example.cn").status_code == 302
    assert list(session.scalars(select(User.email))) == ["same@example.cn"] * 2


def test_nothing_else_of_the_account_is_changed_by_the_form(
    session: Session, client_for: Callable[..., FlaskClient]
) -> None:
    post(client_for("operator"), ACCOUNT, full_name="王", email="", username="root", roles="platform_admin", active="")
    row = found(session, "operator0")
    assert (row.username, row.role_names, row.active) == ("operator0", {"operator"}, True)


# Log-ins.


def test_one_other_log_in_can_be_ended(app: Flask, user: Callable[..., str]) -> None:
    name = user("bob", "operator")
    here, there, elsewhere = (app.test_client() for _ in range(3))
    for client in (there, elsewhere, here):
        log_in(client, name)
    page = here.get(SECURITY).get_data(as_text=True)
    handles = re.findall(r'name="session" value="([0-9a-f]{16})"', page)
    assert len(handles) == 2
    assert post(here, "/account/sessions/end", SECURITY, session=handles[0]).status_code == 302
    assert sorted(client.get(ACCOUNT).status_code for client in (there, elsewhere)) == [200, 302]
    assert here.get(ACCOUNT).status_code == 200


@pytest.mark.parametrize("handle", ["0" * 16, "%", "x" * 3000, "' OR 1=1 --"])
def test_what_names_no_log_in_ends_none(
    app: Flask, session: Session, client_for: Callable[..., FlaskClient], handle: str
) -> None:
    client = client_for("operator")
    log_in(app.test_client(), "operator0")
    assert post(client, "/account/sessions/end", SECURITY, session=handle).status_code == 302
    session.rollback()
    assert session.query(WebSession).count() == 2


def test_another_users_log_in_is_not_ended(session: Session, client_for: Callable[..., FlaskClient]) -> None:
    victim, client = client_for("operator"), client_for("operator")
    session.rollback()
    [handle] = [row.id_hash[:16] for row in session.query(WebSession) if row.user_id == found(session, "operator0").id]
    post(client, "/account/sessions/end", SECURITY, session=handle)
    assert victim.get(ACCOUNT).status_code == 200


def test_the_current_log_in_is_ended_by_logging_out_only(
    session: Session, client_for: Callable[..., FlaskClient]
) -> None:
    client = client_for("operator")
    [row] = session.query(WebSession)
    assert post(client, "/account/sessions/end", SECURITY, session=row.id_hash[:16]).status_code == 400
    assert client.get(ACCOUNT).status_code == 200


# The tabs.


@pytest.mark.parametrize(
    ("role", "keys"), [("platform_admin", True), ("auditor", True), ("owner", True), ("staff", False), ("clerk", False)]
)
def test_every_tab_leads_to_a_page(
    actors: Actors, client_for: Callable[..., FlaskClient], role: str, keys: bool
) -> None:
    client = client_for(role, actors.alice if role in {"owner", "staff", "clerk"} else None)
    page = client.get(ACCOUNT).get_data(as_text=True)
    links = re.findall(r'class="tabs-link" href="([^"]+)"', page)
    assert {ACCOUNT, SECURITY, PREFERENCES} <= set(links)
    assert ("/account/keys/" in links) is keys
    assert [client.get(link).status_code for link in links] == [200] * len(links)


def test_the_menu_leads_to_the_merchants_people(client_for: Callable[..., FlaskClient]) -> None:
    page = client_for("operator").get(ACCOUNT).get_data(as_text=True)
    assert 'href="/staff/list/"' in page

"""Server-side sessions: what the cookie is, when a row is made, and that ending one ends it everywhere."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from itsdangerous import TimestampSigner
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.access import accounts
from app.console.frame.own import device_words
from app.data.clock import utcnow
from app.models import WebSession
from tests.conftest import PASSWORD, Actors, csrf_token, log_in
from tests.people import found, post

ACCOUNT = "/account/"


def rows(session: Session) -> list[WebSession]:
    session.rollback()
    return list(
        session.scalars(select(WebSession).order_by(WebSession.created_at).execution_options(populate_existing=True))
    )


def cookie(client: FlaskClient) -> str:
    held = client.get_cookie("douzhou")
    assert held is not None
    return held.value


def test_cookie_is_random_and_only_its_hash_is_stored(session: Session, client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("operator")
    [row] = rows(session)
    assert row.id_hash == hashlib.sha256(cookie(client).encode()).hexdigest()
    assert len(cookie(client)) == 43
    assert row.user_id is not None
    assert row.address == "127.0.0.1"


def test_cookie_flags(app: Flask) -> None:
    header = app.test_client().get("/login/").headers["Set-Cookie"]
    assert "HttpOnly" in header
    assert "SameSite=Lax" in header
    assert "Secure" not in header


@pytest.mark.parametrize("path", ["/", "/healthz", "/static/console.css", "/no-such-page", "/account/"])
def test_a_visitor_who_stores_nothing_gets_no_row(app: Flask, session: Session, path: str) -> None:
    answer = app.test_client().get(path)
    assert "Set-Cookie" not in answer.headers
    assert rows(session) == []


def test_the_log_in_page_writes_nothing(app: Flask, session: Session) -> None:
    client = app.test_client()
    for _ in range(3):
        assert csrf_token(client)
    assert rows(session) == []
    assert cookie(client).startswith("v.")


def test_a_visitors_cookie_ends_within_the_hour(app: Flask, user: Callable[..., str]) -> None:
    client, name = app.test_client(), user("bob", "operator")
    data = {"username": name, "password": PASSWORD, "csrf_token": csrf_token(client)}
    with time_machine.travel(utcnow() + timedelta(minutes=61)):
        assert client.post("/login/", data=data).status_code == 400
    assert client.post("/login/", data=data).status_code == 302


def test_one_visitors_token_is_worth_nothing_to_another(app: Flask, user: Callable[..., str]) -> None:
    client, other, name = app.test_client(), app.test_client(), user("bob", "operator")
    csrf_token(other)
    data = {"username": name, "password": PASSWORD, "csrf_token": csrf_token(client)}
    assert other.post("/login/", data=data).status_code == 400
    assert app.test_client().post("/login/", data=data).status_code == 400


@pytest.mark.parametrize(
    "forged",
    [
        {"_user_id": "1", "gen": 0},
        {"_user_id": "1", "gen": 0, "csrf_token": "x"},
        {"half": {"id": 1}},
    ],
)
def test_a_visitors_cookie_makes_nobody_known(app: Flask, user: Callable[..., str], forged: dict[str, Any]) -> None:
    """Unsigned, signed by another key, and even signed by ours it holds only what a visitor may have."""
    user("bob", "operator")
    payload = base64.urlsafe_b64encode(json.dumps(forged).encode())
    keys = (b"", b"another-key", str(app.secret_key).encode())
    for value in [payload.decode(), *(TimestampSigner(key, salt="visitor").sign(payload).decode() for key in keys)]:
        client = app.test_client()
        client.set_cookie("douzhou", f"v.{value}")
        assert client.get(ACCOUNT).status_code == 302
        assert client.get("/login/code").headers["Location"] == "/login/"


def test_logging_in_changes_the_id_and_forgets_the_old_one(
    app: Flask, session: Session, user: Callable[..., str]
) -> None:
    client = app.test_client()
    client.get("/login/")
    before = cookie(client)
    log_in(client, user("bob", "operator"))
    assert cookie(client) != before
    assert [row.id_hash for row in rows(session)] == [hashlib.sha256(cookie(client).encode()).hexdigest()]


def test_a_planted_id_is_not_taken_over(app: Flask, user: Callable[..., str]) -> None:
    client = app.test_client()
    client.set_cookie("douzhou", "A" * 43)
    log_in(client, user("bob", "operator"))
    assert cookie(client) != "A" * 43


def test_logging_out_ends_the_session_for_a_copied_cookie_too(
    app: Flask, client_for: Callable[..., FlaskClient]
) -> None:
    client, thief = client_for("operator"), app.test_client()
    thief.set_cookie("douzhou", cookie(client))
    assert thief.get(ACCOUNT).status_code == 200
    assert post(client, "/logout/").status_code == 302
    assert thief.get(ACCOUNT).status_code == 302


@pytest.mark.parametrize("secure", [False, True])
def test_the_cookie_is_taken_back_as_it_was_given(
    app: Flask, client_for: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch, secure: bool
) -> None:
    monkeypatch.setitem(app.config, "SESSION_COOKIE_SECURE", secure)
    response, kept = app.response_class(), app.session_interface
    with app.app_context():
        kept._forget(app, response)  # type: ignore[attr-defined]
    taken = {part.strip() for part in response.headers["Set-Cookie"].split(";")}
    assert {"douzhou=", "Max-Age=0", "Path=/", "HttpOnly", "SameSite=Lax"} <= taken
    assert ("Secure" in taken) is secure


def test_logging_out_by_a_link_only_asks(client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("operator")
    client.get("/logout/")
    assert client.get(ACCOUNT).status_code == 200


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        "v.",
        "v.x",
        "v.eA==.x.y",
        "v." + "A" * 3000,
        "A" * 44,
        "../" * 20,
        "é" * 43,
        "%00" * 20,
        '"' * 43,
        "A" * 4000,
    ],
)
def test_a_malformed_cookie_is_a_visitor(app: Flask, value: str) -> None:
    client = app.test_client()
    answer = client.get("/login/", headers={"Cookie": f"douzhou={value}"})
    assert answer.status_code == 200


def test_a_session_ends_after_its_time(client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("operator")
    with time_machine.travel(utcnow() + timedelta(hours=12, minutes=1)):
        assert client.get(ACCOUNT).status_code == 302


def test_a_page_that_changes_nothing_writes_nothing(session: Session, client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("operator")
    client.get("/account/password")
    seen = rows(session)[0].seen_at
    client.get("/account/password")
    assert rows(session)[0].seen_at == seen


def test_seen_at_moves_every_five_minutes(session: Session, client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("operator")
    client.get("/account/password")
    session.execute(update(WebSession).values(seen_at=utcnow() - timedelta(minutes=6)))
    session.commit()
    before = utcnow()
    client.get("/account/password")
    assert before <= rows(session)[0].seen_at


def test_disabling_a_user_ends_it_at_once(session: Session, client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("operator")
    accounts.set_active(session, found(session, "operator0"), active=False)
    session.commit()
    assert client.get(ACCOUNT).status_code == 302
    assert session.scalar(select(func.count()).select_from(WebSession)) == 0


def test_suspending_a_merchant_shuts_its_people_out(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    client = client_for("owner", actors.alice)
    assert client.get(ACCOUNT).status_code == 200
    actors.alice.state = "suspended"  # type: ignore[assignment]
    session.commit()
    assert client.get(ACCOUNT).status_code == 302


def test_a_session_that_ended_is_not_brought_back_by_a_late_request(
    session: Session, app: Flask, client_for: Callable[..., FlaskClient]
) -> None:
    client = client_for("operator")
    with client.session_transaction() as held:
        held["note"] = "late"
        session.execute(WebSession.__table__.delete())
        session.commit()
    assert rows(session) == []


def test_own_sessions_are_listed_and_the_others_can_be_ended(
    app: Flask, session: Session, user: Callable[..., str]
) -> None:
    name = user("bob", "operator")
    here, there = app.test_client(), app.test_client()
    log_in(here, name)
    log_in(there, name)
    assert here.get("/account/security").get_data(as_text=True).count("127.0.0.1") == 2
    assert post(here, "/account/sessions/end", ACCOUNT).status_code == 302
    assert here.get(ACCOUNT).status_code == 200
    assert there.get(ACCOUNT).status_code == 302


def test_a_post_without_its_token_is_told_to_reload(client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("operator")
    answer = client.post("/account/sessions/end", headers={"Referer": "http://localhost/account/security"})
    page = answer.get_data(as_text=True)
    assert answer.status_code == 400
    assert "页面已过期" in page
    assert 'href="/account/security">' in page  # the way back
    assert 'href="/merchantview/list/"' in page  # inside the reader's own frame
    assert csrf_token(client, "/account/password")


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36", "Chrome · Windows"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0", "Edge · Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) MicroMessenger/8.0 Safari/604.1", "微信 · iPhone"),
        ("Mozilla/5.0 (Linux; Android 15) Chrome/140.0 Mobile Safari/537.36 Lark/7.0", "飞书 · Android"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 14) Version/18.0 Safari/605.1", "Safari · macOS"),
        ("curl/8.5.0", "curl/8.5.0"),
        ("", "未知设备"),
    ],
)
def test_a_device_is_named_in_two_words(agent: str, words: str) -> None:
    assert device_words(agent) == words

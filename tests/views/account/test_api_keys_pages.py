"""API keys on the pages: other people's, and what making one needs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.tenancy import PLATFORM, app_scope
from app.models import ApiKey, AuditEntry
from tests.access.second import ADD_KEY, make_key, with_key
from tests.conftest import Actors
from tests.people import audit, found, post

LIST, RUNS = "/api/v1/mini_programs/", "/api/v1/operations/"
KEYS = "/account/keys/"


def stored(session: Session) -> ApiKey:
    session.rollback()
    return session.scalars(select(ApiKey).execution_options(populate_existing=True)).one()


def status(app: Flask, text: str, path: str = LIST, method: str = "GET", **more: Any) -> int:
    return int(app.test_client().open(path, method=method, headers=with_key(text), **more).status_code)


# Other people's keys.


def test_another_users_key_is_not_found(app: Flask, session: Session, client_for: Callable[..., FlaskClient]) -> None:
    text = make_key(client_for("operator"))
    other = client_for("operator")
    assert post(other, f"/account/keys/revoke/{stored(session).id}", "/account/").status_code == 404
    assert post(other, "/account/keys/revoke/999999", "/account/").status_code == 404
    assert text[:9] not in other.get(KEYS).get_data(as_text=True)
    assert status(app, text) == 200


def test_an_administrator_sees_a_users_keys_and_ends_one(
    app: Flask, session: Session, client_for: Callable[..., FlaskClient]
) -> None:
    text = make_key(client_for("operator"), name="发布脚本")
    admin = client_for("platform_admin")
    page = admin.get(f"/users/show/{found(session, 'operator0').id}").get_data(as_text=True)
    assert "发布脚本" in page
    assert text[:9] in page
    assert text[:12] not in page
    number = stored(session).id
    assert post(admin, f"/users/revoke_key/{number}", "/account/").status_code == 302
    assert status(app, text) == 401
    [row] = audit(session, "api_key_revoke")
    assert (row.actor_name, row.subject_name) == ("platform_admin1", "operator0")


def test_nobody_else_ends_a_users_key(
    app: Flask, session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    text = make_key(client_for("platform_admin"))
    number = stored(session).id
    for role, merchant in (("operator", None), ("auditor", None), ("owner", actors.bob)):
        client = client_for(role, merchant)
        for path in (f"/users/revoke_key/{number}", f"/staff/revoke_key/{number}"):
            assert post(client, path, "/account/").status_code in {403, 404}, (role, path)
    assert status(app, text) == 200


# What making one needs.


def test_making_one_asks_for_the_password_again(session: Session, client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("operator")
    with time_machine.travel(utcnow() + timedelta(minutes=21)):
        answer = client.get(ADD_KEY)
        assert (answer.status_code, answer.headers["Location"].split("?")[0]) == (302, "/account/confirm")
        answer = post(client, ADD_KEY, "/account/", name="甲", scope="read", days="30")
        assert answer.headers["Location"].split("?")[0] == "/account/confirm"
    assert session.scalars(select(ApiKey)).all() == []


def test_while_logged_in_as_a_merchant_there_are_no_keys(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    client = client_for("operator")
    make_key(client)
    number = stored(session).id
    post(client, f"/loginas/{actors.alice.id}", reason="工单 1：查看")
    for path in (KEYS, ADD_KEY):
        assert client.get(path).status_code == 403
    for path in (ADD_KEY, f"/account/keys/revoke/{number}"):
        assert post(client, path, "/logout/", name="甲", scope="read", days="30").status_code == 403
    assert stored(session).revoked_at is None


def test_a_change_without_the_forms_token_is_refused(session: Session, client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("operator")
    assert client.post(ADD_KEY, data={"name": "甲", "scope": "read", "days": "30"}).status_code == 400
    make_key(client)
    assert client.post(f"/account/keys/revoke/{stored(session).id}").status_code == 400
    assert stored(session).revoked_at is None


def test_a_key_is_found_in_a_merchants_scope_by_its_own_user_only(
    app: Flask, session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    """The table is not held to a merchant: every look into it names the user."""
    client = client_for("owner", actors.alice)
    make_key(client_for("owner", actors.bob), name="鲍勃的密钥")
    assert "鲍勃的密钥" not in client.get(KEYS).get_data(as_text=True)
    with app_scope(app, PLATFORM) as own:
        names = {
            row.subject_name for row in own.scalars(select(AuditEntry).where(AuditEntry.action == "api_key_create"))
        }
    assert names == {f"owner1{actors.bob.user_suffix}"}

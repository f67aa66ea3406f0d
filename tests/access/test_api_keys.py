"""API keys: what each scope covers, whose rows they reach, when they end, and that they are kept nowhere."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, select, update
from sqlalchemy.orm import Session

from app.access import accounts, api_keys, passwords
from app.api.operators import operations as operations_api
from app.data.clock import utcnow
from app.extensions import db
from app.models import ApiKey, AuthorizationState, MerchantState, OperationRun
from app.models.api_key import KeyScope
from app.redaction import redact
from tests.access.second import ADD_KEY, enrol, make_key, with_key
from tests.conftest import Actors
from tests.people import audit, bearer, found, post

LIST, RUNS = "/api/v1/mini_programs/", "/api/v1/operations/"
KEYS = "/account/keys/"


@pytest.fixture(autouse=True)
def _nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations_api, "WAIT_SECONDS", 0)


def stored(session: Session) -> ApiKey:
    session.rollback()
    return session.scalars(select(ApiKey).execution_options(populate_existing=True)).one()


def status(app: Flask, text: str, path: str = LIST, method: str = "GET", **more: Any) -> int:
    return int(app.test_client().open(path, method=method, headers=with_key(text), **more).status_code)


@pytest.fixture
def actors(session: Session, actors: Actors) -> Actors:
    """As everywhere, and alice's mini-program is authorised: an operation on it is queued."""
    actors.alice_app.state = AuthorizationState.AUTHORIZED
    session.commit()
    return actors


def submit(actors: Actors) -> dict[str, Any]:
    return {"operation": "sync_app_info", "appid": actors.alice_app.appid, "params": {}}


@contextmanager
def statements(app: Flask) -> Iterator[list[str]]:
    """What the database is asked meanwhile."""
    asked: list[str] = []
    listen: Any = lambda _c, _cur, statement, *_rest: asked.append(statement)  # noqa: E731
    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", listen)
    try:
        yield asked
    finally:
        event.remove(engine, "before_cursor_execute", listen)


# What is kept and shown.


def test_a_key_is_shown_once_and_only_its_keyed_hash_is_kept(
    app: Flask, session: Session, client_for: Callable[..., FlaskClient]
) -> None:
    client, before = client_for("operator"), utcnow()
    text = make_key(client)
    row = stored(session)
    assert re.fullmatch(r"dz_[0-9A-Za-z]{40}", text)
    assert row.key_hash == app.extensions["keyring"].fingerprint(f"api-key:{text}")
    assert (row.start, row.scopes) == (text[:9], ["read"])
    assert row.expires_at is not None and before <= row.expires_at - timedelta(days=90) <= utcnow()
    page = client.get(KEYS).get_data(as_text=True)
    assert text[:9] in page
    assert text[:12] not in page


def test_the_page_with_the_key_is_not_kept_by_the_browser(client_for: Callable[..., FlaskClient]) -> None:
    answer = post(client_for("operator"), ADD_KEY, name="脚本", scope="read", days="30")
    assert answer.headers["Cache-Control"] == "no-store"


def test_no_key_is_in_the_database_the_audit_log_or_a_log_line(
    app: Flask, session: Session, client_for: Callable[..., FlaskClient], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    text = make_key(client_for("operator"), scope="write")
    assert status(app, text) == 200
    assert text not in caplog.text
    session.rollback()
    dump = " ".join(str(tuple(row)) for table in db.metadata.sorted_tables for row in session.execute(select(table)))
    assert text[3:] not in dump
    assert text not in redact(f"key is {text} here")


def test_making_and_revoking_are_in_the_audit_log(session: Session, client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("operator")
    text = make_key(client, name="发布脚本")
    post(client, f"/account/keys/revoke/{stored(session).id}", KEYS)
    [made], [ended] = audit(session, "api_key_create"), audit(session, "api_key_revoke")
    for row in (made, ended):
        assert (row.actor_name, row.subject_name) == ("operator0", "operator0")
        assert (row.after["name"], row.after["start"]) == ("发布脚本", text[:9])


def test_the_log_tells_of_a_key_in_words(session: Session, client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("platform_admin")
    make_key(client, name="发布脚本")
    [made] = audit(session, "api_key_create")
    page = client.get(f"/auditentryview/show/{made.id}").get_data(as_text=True)
    for words in ("密钥开头", "权限范围", "只读", "有效期至"):
        assert words in page
    assert not re.search(r">(start|scope|read)<|>[^<]*T\d\d:\d\d:\d\d\.", page)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({"name": "", "scope": "read", "days": "90"}, "请填写名称"),
        ({"name": "甲" * 65, "scope": "read", "days": "90"}, "最多 64 个字"),
        ({"name": "甲", "scope": "root", "days": "90"}, ""),
        ({"name": "甲", "scope": "read", "days": "9999"}, ""),
        ({"name": "甲", "scope": "read", "days": "never"}, ""),  # not an administrator
    ],
)
def test_bad_input_makes_no_key(
    session: Session, client_for: Callable[..., FlaskClient], data: dict[str, str], why: str
) -> None:
    answer = post(client_for("operator"), ADD_KEY, **data)
    assert answer.status_code == 422
    assert why in answer.get_data(as_text=True)
    assert session.scalars(select(ApiKey)).all() == []


def test_only_an_administrator_may_have_a_key_without_an_end(
    session: Session, client_for: Callable[..., FlaskClient]
) -> None:
    make_key(client_for("platform_admin"), days="never")
    assert stored(session).expires_at is None


def test_there_is_an_end_to_the_number_of_keys(session: Session, client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("operator")
    owner = found(session, "operator0")
    for _ in range(api_keys.PER_USER):
        api_keys.create(session, owner, "旧", KeyScope.READ, 30)
    session.commit()
    answer = post(client, ADD_KEY, name="新", scope="read", days="30")
    assert answer.status_code == 422
    assert "最多同时有 20 个" in answer.get_data(as_text=True)


# Scopes.


@pytest.mark.parametrize(("scope", "post_status"), [("read", 403), ("operate", 200), ("write", 200)])
def test_scopes_and_methods(
    app: Flask, actors: Actors, client_for: Callable[..., FlaskClient], scope: str, post_status: int
) -> None:
    text = make_key(client_for("operator"), scope=scope)
    assert status(app, text) == 200
    assert status(app, text, RUNS, "POST", json=submit(actors)) == post_status


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    ("scope", "view", "covered"),
    [
        ("read", "OperationsApi", False),
        ("read", "MerchantApi", False),
        ("operate", "OperationsApi", True),
        ("operate", "MerchantApi", False),
        ("operate", None, False),
        ("write", "OperationsApi", True),
        ("write", "MerchantApi", True),
        ("unheard-of", "OperationsApi", False),
    ],
)
def test_what_changes_something_needs_the_scope(method: str, scope: str, view: str | None, covered: bool) -> None:
    assert api_keys.allows(ApiKey(scopes=[scope]), method, view) is covered


def test_a_key_with_no_known_scope_may_not_even_read() -> None:
    assert not api_keys.allows(ApiKey(scopes=["unheard-of"]), "GET", "MerchantApi")
    assert not api_keys.allows(ApiKey(scopes=[]), "GET", "MerchantApi")


def test_a_refused_scope_says_so_in_chinese(app: Flask, actors: Actors, client_for: Callable[..., FlaskClient]) -> None:
    text = make_key(client_for("operator"))
    answer = app.test_client().post(RUNS, headers=with_key(text), json=submit(actors))
    assert "权限范围" in answer.get_json()["message"]


def test_a_key_never_does_more_than_its_users_role(
    app: Flask, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    text = make_key(client_for("auditor"), scope="write")
    assert status(app, text) == 200
    assert status(app, text, RUNS, "POST", json=submit(actors)) == 403


def test_a_changed_role_holds_at_once(
    app: Flask, session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    text = make_key(client_for("operator"), scope="write")
    accounts.change_roles(session, found(session, "operator0"), ["auditor"])
    session.commit()
    assert status(app, text) == 200
    assert status(app, text, RUNS, "POST", json=submit(actors)) == 403


# Tenants.


def test_a_merchants_key_reaches_its_own_runs_only(
    app: Flask, session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    text = make_key(client_for("owner", actors.alice), scope="write")
    runs = {}
    for owner, row in ((actors.alice, actors.alice_app), (actors.bob, actors.bob_app)):
        run = OperationRun(
            operation="sync_app_info",
            merchant_id=owner.id,
            mini_program_id=row.id,
            appid=row.appid,
            subject_type="mini_program",
            subject_id=row.id,
            door="rest",
            params={},
            result={},
            lock_key="x",
        )
        session.add(run)
        session.commit()
        runs[owner.id] = run.id
    assert status(app, text, f"{RUNS}{runs[actors.alice.id]}") == 200
    foreign, absent = (
        app.test_client().get(f"{RUNS}{number}", headers=with_key(text)) for number in (runs[actors.bob.id], 999_999)
    )
    assert (foreign.status_code, foreign.get_data()) == (404, absent.get_data())


def test_a_merchants_key_sees_no_list_of_the_platform(
    app: Flask, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    text = make_key(client_for("owner", actors.alice), scope="write")
    assert status(app, text, "/api/v1/merchants/") == 403
    assert status(app, text) == 403


@pytest.mark.parametrize("role", ["staff", "clerk"])
def test_who_has_nothing_to_ask_the_api_for_gets_no_keys(
    actors: Actors, client_for: Callable[..., FlaskClient], role: str
) -> None:
    client = client_for(role, actors.alice)
    assert client.get(KEYS).status_code == 403
    assert client.get(ADD_KEY).status_code == 403
    assert KEYS not in client.get("/account/").get_data(as_text=True)


# The end of a key.


def test_revoked_is_over_at_once(app: Flask, session: Session, client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("operator")
    text = make_key(client)
    assert status(app, text) == 200
    assert post(client, f"/account/keys/revoke/{stored(session).id}", KEYS).status_code == 302
    assert status(app, text) == 401


def test_an_expired_key_is_told_so_in_chinese(app: Flask, client_for: Callable[..., FlaskClient]) -> None:
    text = make_key(client_for("operator"), days="30")
    with time_machine.travel(utcnow() + timedelta(days=30, minutes=1)):
        answer = app.test_client().get(LIST, headers=with_key(text))
    assert answer.status_code == 401
    assert "已过期" in answer.get_json()["message"]
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_disabling_the_user_ends_its_keys_for_good(
    app: Flask, session: Session, client_for: Callable[..., FlaskClient]
) -> None:
    text = make_key(client_for("operator"))
    accounts.set_active(session, found(session, "operator0"), active=False)
    session.commit()
    assert status(app, text) == 401
    accounts.set_active(session, found(session, "operator0"), active=True)
    session.commit()
    assert status(app, text) == 401
    assert stored(session).revoked_at is not None


def test_a_disabled_flag_alone_shuts_the_key_out(
    app: Flask, session: Session, client_for: Callable[..., FlaskClient]
) -> None:
    text = make_key(client_for("operator"))
    found(session, "operator0").active = False
    session.commit()
    assert status(app, text) == 401


def test_a_suspended_merchants_keys_stop_and_go_on(
    app: Flask, session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    text = make_key(client_for("owner", actors.alice))
    for state, expected in ((MerchantState.SUSPENDED, 401), (MerchantState.ACTIVE, 404)):
        actors.alice.state = state
        session.commit()
        assert status(app, text, f"{RUNS}1") == expected


def test_a_new_password_leaves_the_keys_alone(
    app: Flask, session: Session, client_for: Callable[..., FlaskClient]
) -> None:
    text = make_key(client_for("operator"))
    accounts.set_password(session, found(session, "operator0"), "another 好 password 4711", must_change=False)
    session.commit()
    assert status(app, text) == 200


def test_a_key_waits_while_its_user_must_change_the_password(
    app: Flask, session: Session, client_for: Callable[..., FlaskClient]
) -> None:
    text = make_key(client_for("operator"))
    accounts.reset_password(session, found(session, "operator0"))
    session.commit()
    assert status(app, text) == 401


def test_a_key_waits_while_its_user_must_set_up_the_second_factor(
    app: Flask, client_for: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_for("operator")
    text = make_key(client)
    monkeypatch.setitem(app.config, "REQUIRE_2FA", True)
    assert status(app, text) == 401
    enrol(client)
    assert status(app, text) == 200


# The look-up.


@pytest.mark.parametrize(
    "text",
    [
        "dz_",
        "dz_x",
        "dz_" + "A" * 39,
        "dz_" + "A" * 41,
        "dz_" + "é" * 40,
        "dz_" + "A" * 40,
        "dz_" + "-" * 40,
        "dz_" + "A" * 5000,
    ],
)
def test_what_is_no_key_is_refused(app: Flask, client_for: Callable[..., FlaskClient], text: str) -> None:
    make_key(client_for("operator"))
    answer = app.test_client().get(LIST, headers={"Authorization": f"Bearer {text}".encode().decode("latin-1")})
    assert answer.status_code == 401
    assert answer.get_json()["message"] == api_keys.INVALID


def test_a_key_is_looked_up_by_its_hash_at_a_constant_cost(
    app: Flask, client_for: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One look-up by the keyed hash for any text, near miss or not; no slow hash, and no text compared."""
    text = make_key(client_for("operator"))
    monkeypatch.setattr(passwords, "matches", lambda *_: pytest.fail("a slow hash was worked out"))
    near = text[:-1] + ("A" if text[-1] != "A" else "B")
    for other in (near, "dz_" + "Z" * 40, "dz_x"):
        with statements(app) as asked:
            assert status(app, other) == 401
        assert len(asked) - sum(bare in statement for statement in asked for bare in ("BEGIN", "SELECT 1")) == 1
        assert "api_key.key_hash =" in asked[-1]


def test_the_kept_hash_is_no_key(app: Flask, session: Session, client_for: Callable[..., FlaskClient]) -> None:
    make_key(client_for("operator"))
    assert status(app, "dz_" + stored(session).key_hash[:40]) == 401
    assert status(app, stored(session).key_hash) in {401, 422}


# One credential counts, and at the API only.


def test_a_key_opens_no_page(app: Flask, client_for: Callable[..., FlaskClient]) -> None:
    text = make_key(client_for("platform_admin"), scope="write")
    for path in ("/", "/account/", "/users/list/", "/merchantview/list/"):
        answer = app.test_client().get(path, headers=with_key(text))
        assert answer.status_code in {302, 401}, path
    assert status(app, text, "/account/preferences", "POST", data={"theme": "dark"}) in {302, 400}


def test_the_key_counts_and_not_the_cookie_beside_it(actors: Actors, client_for: Callable[..., FlaskClient]) -> None:
    text = make_key(client_for("owner", actors.alice), scope="write")
    admin = client_for("platform_admin")
    assert admin.get("/api/v1/_openapi").status_code == 200
    assert admin.get("/api/v1/merchants/", headers=with_key(text)).status_code == 403
    assert admin.get("/api/v1/_openapi", headers=with_key("dz_" + "A" * 40)).status_code == 401


def test_tokens_go_on_working(app: Flask, client_for: Callable[..., FlaskClient]) -> None:
    client_for("operator")
    client = app.test_client()
    assert client.get(LIST, headers=bearer(client, "operator0")).status_code == 200


def test_runs_name_who_asked_by_key(
    app: Flask, session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    text = make_key(client_for("operator"), scope="operate")
    status(app, text, RUNS, "POST", json=submit(actors))
    session.rollback()
    run = session.scalars(select(OperationRun)).one()
    assert (run.actor_name, str(run.door), run.actor_ip) == ("operator0", "rest", "127.0.0.1")


# The last use.


def test_the_last_use_is_kept_at_most_once_a_minute(
    app: Flask, session: Session, client_for: Callable[..., FlaskClient]
) -> None:
    text = make_key(client_for("operator"))
    assert stored(session).used_at is None
    status(app, text)
    first = stored(session)
    seen = first.used_at
    assert first.used_from == "127.0.0.1"
    status(app, text)
    assert stored(session).used_at == seen
    session.execute(update(ApiKey).values(used_at=utcnow() - timedelta(seconds=61)))
    session.commit()
    before = utcnow()
    status(app, text)
    used_at = stored(session).used_at
    assert used_at is not None and before <= used_at


def test_a_refused_key_was_not_used(app: Flask, session: Session, client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("operator")
    text = make_key(client)
    post(client, f"/account/keys/revoke/{stored(session).id}", KEYS)
    status(app, text)
    assert stored(session).used_at is None
